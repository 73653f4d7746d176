"""Z-scores and correlations: what is compared where size and shift are to play no part."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDING = 16
"""What differs from its mean by no more than so many units of its own rounding does not vary."""


def standardise(x: Tensor, dim: int = 1) -> Tensor:
    """`x` less its mean over `dim`, over its standard deviation there (that of all n, not n - 1); at least float32.

    0, without a gradient, where it does not vary beyond its own rounding: of a student whose classifier starts at zero
    the gradients would be of the order of 1 / rounding error.
    """
    x = x.float()
    centred = x - x.mean(dim, keepdim=True)
    deviation, size = (y.norm(dim=dim, keepdim=True) for y in (centred, x.detach()))
    varies = deviation > _ROUNDING * torch.finfo(x.dtype).eps * size
    return torch.where(varies, centred * (x.shape[dim] ** 0.5 / torch.where(varies, deviation, 1.0)), 0.0)


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation of each row of `a` [N, M] with the same row of `b`: [N]; 0 where a row does not vary."""
    return (standardise(a) * standardise(b)).mean(1)

"""Mean and variance of the channels of maps [B, C, H, W] over the images of the global batch and all positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pat.gather import gather_batch

LEAST = 1e-12
"""A variance below this share of the mean square is rounding: nothing varies."""
RIDGE = 1e-5
"""Added to the variance of each channel, as a share of their mean, where one is divided by another."""


@dataclass(frozen=True)
class Moments:
    """Mean and variance [C] of each channel, the variance about the channel's own mean."""

    mean: Tensor
    variance: Tensor

    @property
    def square(self) -> Tensor:
        """Mean square of all elements, a scalar."""
        return (self.mean.square() + self.variance).mean()

    @property
    def spread(self) -> Tensor:
        """Mean variance of the channels, a scalar; exactly 0 where they vary by rounding alone."""
        spread = self.variance.mean()
        return torch.where(spread > LEAST * self.square, spread, 0.0)


def moments(x: Tensor, shown: Tensor | None = None) -> Moments:
    """Those of a map [B, C, H, W], in float32, where `shown` [B, 1, H, W] is not 0 (None: everywhere).

    With gradients to the worker that each image comes from (`gather_batch`).
    """
    x = x.float()
    if shown is None:
        count = x.new_full((), x.numel() / x.shape[1])
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    else:
        shown = shown.to(x.dtype)
        count = shown.sum()
        mean = (x * shown).sum((0, 2, 3)) / count.clamp(min=1)
        variance = ((x - mean[:, None, None]).square() * shown).sum((0, 2, 3)) / count.clamp(min=1)
    workers = gather_batch(torch.stack([count.expand_as(mean), mean, variance])[None])
    if len(workers) == 1:
        return Moments(mean, variance)
    counts, means, variances = workers.unbind(1)
    share = counts / counts.sum(0).clamp(min=1)
    mean = (share * means).sum(0)
    return Moments(mean, (share * (variances + (means - mean).square())).sum(0))


def over(value: Tensor, spread: Tensor) -> Tensor:
    """`value` over a variance, 0 where that is 0."""
    return value * torch.where(spread > 0, 1 / torch.where(spread > 0, spread, 1.0), 0.0)


def restandardised(x: Tensor, own: Moments, like: Moments) -> Tensor:
    """A map [B, C, H, W] whose channels have the moments `own`, with those of `like` instead."""
    ridge = RIDGE * like.variance.mean() + torch.finfo(like.variance.dtype).tiny
    scale = ((like.variance + ridge) / (own.variance + ridge)).sqrt()
    return (x - own.mean[:, None, None]) * scale[:, None, None] + like.mean[:, None, None]

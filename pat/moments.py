"""Mean and variance of the channels of maps [B, C, H, W] over the images of the global batch and all positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pat.gather import gather_batch, is_alone

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


class Asked(NamedTuple):
    """A map [B, C, H, W], or what is left of it `minus` another, and where it is shown, as for `moments`.

    `spread`: its variance is asked for, and its mean not to the last bit, so that on a CPU it may be cheaper.
    """

    x: Tensor
    shown: Tensor | None
    minus: Tensor | None = None
    spread: bool = False


def moments(x: Tensor, shown: Tensor | None = None) -> Moments:
    """Those of a map [B, C, H, W], in float32, where `shown` [B, 1, H, W] is not 0 (None: everywhere).

    With gradients to the worker that each image comes from (`gather_batch`).
    """
    return all_moments([Asked(x, shown)])[0]


def all_moments(maps: Sequence[Asked]) -> list[Moments]:
    """`moments` of each map; the workers exchange all of them at once."""
    own = [_of_this_worker(asked) for asked in maps]
    if not own or is_alone():
        return [found for _, found in own]
    told = [torch.stack([count.expand_as(found.mean), found.mean, found.variance]) for count, found in own]
    counts, means, variances = gather_batch(torch.cat(told, dim=1)[None]).unbind(1)
    share = counts / counts.sum(0).clamp(min=1)
    mean = (share * means).sum(0)
    variance = (share * (variances + (means - mean).square())).sum(0)
    sizes = [len(found.mean) for _, found in own]
    return [*map(Moments, mean.split(sizes), variance.split(sizes))]


def _of_this_worker(asked: Asked) -> tuple[Tensor, Moments]:
    """Positions, a scalar, and the moments over them."""
    x = asked.x.float() if asked.minus is None else asked.x.float() - asked.minus.float()
    if asked.shown is None:
        count = x.new_full((), x.numel() / x.shape[1])
        by_sums = asked.spread and x.device.type == "cpu" and not (torch.is_grad_enabled() and x.requires_grad)
        variance, mean = _by_sums(x) if by_sums else torch.var_mean(x, (0, 2, 3), correction=0)
    else:
        shown = asked.shown.to(x.dtype)
        count = shown.sum()
        mean = (x * shown).sum((0, 2, 3)) / count.clamp(min=1)
        variance = ((x - mean[:, None, None]).square() * shown).sum((0, 2, 3)) / count.clamp(min=1)
    return count, Moments(mean, variance)


def _by_sums(x: Tensor) -> tuple[Tensor, Tensor]:
    """Variance and mean of the channels, by sums in float64: in a third of the time that torch's own takes on a CPU,
    which adds in float64 too, but element by element. The mean may differ in its last bit, where the exact one lies
    between two numbers of float32."""
    wide, count = x.double(), x.numel() / x.shape[1]
    mean, square = wide.sum((0, 2, 3)) / count, wide.square().sum((0, 2, 3)) / count
    return (square - mean.square()).clamp(min=0).to(x.dtype), mean.to(x.dtype)


def over(value: Tensor, spread: Tensor) -> Tensor:
    """`value` over a variance, 0 where that is 0."""
    return value * torch.where(spread > 0, 1 / torch.where(spread > 0, spread, 1.0), 0.0)


def restandardised(x: Tensor, own: Moments, like: Moments) -> Tensor:
    """A map [B, C, H, W] whose channels have the moments `own`, with those of `like` instead."""
    ridge = RIDGE * like.variance.mean() + torch.finfo(like.variance.dtype).tiny
    scale = ((like.variance + ridge) / (own.variance + ridge)).sqrt()
    return (x - own.mean[:, None, None]) * scale[:, None, None] + like.mean[:, None, None]

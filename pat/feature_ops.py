"""Nine operations on maps, differentiable in their magnitudes: what DAFA augments a teacher's features with.

SoKD (arXiv 2409.18785), differentiable automatic feature augmentation; the ranges are those of the public code, which
has them of zero gradient. An amount of 0 changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pat.counter import hash64, uniform

RANGES = {
    "shear_x": 0.3,
    "shear_y": 0.3,
    "translate_x": 0.45,
    "translate_y": 0.45,
    "rotate": math.radians(30),
    "cutout": 0.2,
    "noise": 0.1,
    "channel_shuffle": 1.0,
    "channel_drop": 0.5,
}
"""The largest amount of each: shear per cell, shares of the map's sides (translation, cut-out), radians, noise in
standard deviations of an image's map, share of the way to the shuffled channels, share of the channels dropped."""
DROP_EDGE = 0.1
"""A channel is dropped gradually, while the share passes over so much."""
SIGN, CENTRE, NOISE, SHUFFLE, DROP = range(5)


@dataclass(frozen=True)
class Draws:
    """Random numbers of one operation: functions of `key` (of run, step and operation) and of the image's index."""

    key: Tensor
    indices: Tensor

    def uniform(self, slot: int, count: int) -> Tensor:
        """[B, count], float64 in [0, 1)."""
        places = torch.arange(count, device=self.indices.device)
        return uniform(self.key, slot, self.indices[:, None], places)

    def order(self, slot: int, count: int) -> Tensor:
        """A permutation of range(count), one for all images."""
        return torch.argsort(hash64(self.key, slot, torch.arange(count, device=self.indices.device)), stable=True)


def operate(x: Tensor, amounts: Tensor, draws: Draws) -> Tensor:
    """Maps [B, C, H, W], float, after the operations of `RANGES` by `amounts` [9], in their order.

    Those of 0 do nothing, but for the rounding of an interpolation; their gradients are those of beginning to do
    something. Which way a map is moved is drawn for each image.
    """
    *moves, cut, noise, shuffle, drop = amounts.unbind()
    sign = 1 - 2 * (draws.uniform(SIGN, 1) < 0.5).to(x.dtype)
    y = _moved(x, *(sign[:, 0] * move for move in moves))
    y = y * (1 - _covered(y, cut, draws.uniform(CENTRE, 2).to(x.dtype)))
    y = y + shuffle * (y[:, draws.order(SHUFFLE, y.shape[1])] - y)
    dropped = ((drop - draws.uniform(DROP, y.shape[1]).to(x.dtype)) / DROP_EDGE).clamp(0, 1)
    y = y * (1 - dropped)[:, :, None, None]
    spread = x.detach().flatten(1).std(1, correction=0)[:, None, None, None]
    drawn = draws.uniform(NOISE, x[0].numel()).clamp(min=2.0**-54)
    return y + noise * spread * torch.special.ndtri(drawn).to(x.dtype).view_as(x)


def _moved(x: Tensor, shear_x: Tensor, shear_y: Tensor, right: Tensor, down: Tensor, angle: Tensor) -> Tensor:
    """Each map [B, C, H, W] sampled at places that are sheared, moved and turned by [B] each, 0 from outside.

    In cells, whatever the sides of the map: a turned map is not sheared where it is not square.
    """
    height, width = x.shape[-2:]
    cos, sin = angle.cos(), angle.sin()
    rows = [cos, (shear_x - sin) * (height / width), 2 * right, (shear_y + sin) * (width / height), cos, 2 * down]
    grid = F.affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), [*x.shape], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _covered(x: Tensor, side: Tensor, centre: Tensor) -> Tensor:
    """How much of each cell a box covers, [B, 1, H, W]: its sides are a share `side` of the map's, and its `centre`
    [B, 2] stands in shares of them."""
    shares = []
    for axis, cells in enumerate(x.shape[-2:]):
        middle, half = centre[:, axis, None] * cells, side * cells / 2
        start = torch.arange(cells, dtype=x.dtype, device=x.device)
        shares.append((torch.minimum(start + 1, middle + half) - torch.maximum(start, middle - half)).clamp(min=0))
    return (shares[0][:, :, None] * shares[1][:, None, :])[:, None]

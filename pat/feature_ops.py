"""Nine operations on maps, differentiable in their magnitudes: what DAFA augments a teacher's features with.

SoKD (arXiv 2409.18785), differentiable automatic feature augmentation; the ranges are those of the public code, which
has them of zero gradient. An amount of 0 changes nothing.
"""

from __future__ import annotations

import math

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


def operate(x: Tensor, amounts: Tensor, key: Tensor, indices: Tensor) -> Tensor:
    """Maps [B, C, H, W], float, after the operations of `RANGES` by `amounts` [9], in their order.

    Those of 0 do nothing, but for the rounding of an interpolation; their gradients are those of beginning to do
    something. What is drawn for each image, which way it is moved too, is a function of `key` and its index [B].
    """
    *moves, cut, noise, shuffle, drop = amounts.unbind()
    way, centre, dropping, normal = drawn(x, key, indices)
    y = _moved(x, *(way * move for move in moves))
    y = y * (1 - _covered(y, cut, centre))
    y = y + shuffle * (y[:, channel_order(y.shape[1], key)] - y)
    dropped = ((drop - dropping) / DROP_EDGE).clamp(0, 1)
    y = y * (1 - dropped)[:, :, None, None]
    spread = x.detach().flatten(1).std(1, correction=0)[:, None, None, None]
    return y + noise * spread * normal


def drawn(x: Tensor, key: Tensor, indices: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For maps [B, C, H, W]: -1 or 1 [B], shares of the sides [B, 2], numbers in [0, 1) for the channels [B, C], and
    normal ones [B, C, H, W]."""
    counts = [1, 2, x.shape[1], x[0].numel()]
    numbers = uniform(key, indices[:, None], torch.arange(sum(counts), device=indices.device))
    sign, centre, dropping, noise = numbers.split(counts, dim=1)
    normal = math.sqrt(2) * torch.erfinv((2 * noise - 1).to(x.dtype).clamp(-1 + 1e-7, 1 - 1e-7))
    way = 1 - 2 * (sign[:, 0] < 0.5).to(x.dtype)
    return way, centre.to(x.dtype), dropping.to(x.dtype), normal.reshape(x.shape)


def channel_order(channels: int, key: Tensor) -> Tensor:
    """A permutation of the channels, one for all images."""
    return torch.argsort(hash64(key, torch.arange(channels, device=key.device)), stable=True)


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

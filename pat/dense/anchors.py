"""Anchors: the boxes of fixed sizes and shapes that a detector's proposals start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pat.layouts import Size

RATIOS = (0.5, 1.0, 2.0)
"""Heights over widths of the anchors of a cell."""


@dataclass(frozen=True)
class Anchors:
    """The anchors of a canvas, level by level, in a level cell by cell, in a cell by `RATIOS`.

    `boxes` float32 [A, 4] in pixels, `centres` int64 [A, 2] (y, x), `counts` anchors per level. `codes` int64 [A]:
    the same anchor has the same code on every canvas.
    """

    boxes: Tensor
    centres: Tensor
    codes: Tensor
    counts: tuple[int, ...]

    def inside(self, sizes: Tensor) -> Tensor:
        """Which anchors have their centre on the image rather than on padding, bool [B, A]; `sizes` int64 [B, 2]."""
        return (self.centres < sizes[:, None]).all(dim=2)


def make_anchors(
    grids: Sequence[Size], strides: Sequence[int], sizes: Sequence[float], device: torch.device
) -> Anchors:
    """One anchor of area `sizes[i]` ** 2 for each ratio and each cell of `grids[i]` (h, w), which lies at a multiple
    of `strides[i]` pixels: detectron2's, without torchvision's rounding and with strides that no canvas changes."""
    parts = [_level(i, *level, device) for i, level in enumerate(zip(grids, strides, sizes, strict=True))]
    boxes, centres, codes = (torch.cat(column) for column in zip(*parts, strict=True))
    return Anchors(boxes, centres, codes, tuple(len(part[0]) for part in parts))


def _level(level: int, grid: Size, stride: int, size: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    rows, columns, shapes = torch.meshgrid(
        *(torch.arange(count, device=device) for count in (*grid, len(RATIOS))), indexing="ij"
    )
    centres = torch.stack([rows, columns], dim=-1).flatten(0, 2) * stride
    heights = size * torch.tensor(RATIOS, device=device, dtype=torch.float32).sqrt()
    half = torch.stack([heights, size**2 / heights], dim=-1)[shapes.flatten()] / 2
    boxes = torch.cat([(centres - half).flip(1), (centres + half).flip(1)], dim=1)
    codes = ((level * 2**20 + rows) * 2**20 + columns) * len(RATIOS) + shapes
    return boxes, centres, codes.flatten()

"""DAM: distinctive areas of two maps, found by one head (SoKD, arXiv 2409.18785)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Areas:
    """What the head finds in a map [B, C, H, W]: how distinctive each cell is, `heat` [B, 1, H, W] in (0, 1), and the
    box that belongs to it, in cells: its `size` [B, 2, H, W] > 0 (height, width) and the `offset` of its middle."""

    heat: Tensor
    size: Tensor
    offset: Tensor

    def stacked(self) -> Tensor:
        """[B, 5, H, W]."""
        return torch.cat([self.heat, self.size, self.offset], dim=1)


class AreaHead(nn.Module):
    """Heat, size and offset as CenterNet has them (Zhou et al. 2019, arXiv 1904.07850), each by a 3x3 convolution to
    `dim` channels, ReLU and a 1x1 convolution.

    The public code ends all three in a ReLU, which keeps the heat above 1/2 and the offsets positive; here they end
    in sigmoid, softplus and nothing.
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, dim, 3, padding=1), nn.ReLU(), nn.Conv2d(dim, out, 1))
            for out in (1, 2, 2)
        )

    def forward(self, x: Tensor) -> Areas:
        heat, size, offset = (branch(x).float() for branch in self.branches)
        return Areas(heat.sigmoid(), F.softplus(size), offset)


def mutual(one: Areas, other: Areas) -> Areas:
    """The mean of what is found in two maps of one shape."""
    return Areas((one.heat + other.heat) / 2, (one.size + other.size) / 2, (one.offset + other.offset) / 2)


def area_mask(areas: Areas, count: int) -> Tensor:
    """The union of the boxes of the `count` hottest peaks, bool [B, 1, H, W].

    A peak is a cell than which none of its eight neighbours is hotter; there may be fewer. A box has all cells that it
    touches, its own at least if it is not offset. No gradient.
    """
    heat = areas.heat.detach()
    height, width = heat.shape[-2:]
    peaks = torch.where(heat == F.max_pool2d(heat, 3, stride=1, padding=1), heat, -1.0).flatten(1)
    found, places = peaks.topk(min(count, height * width), dim=1)  # [B, P]

    def touched(axis: int, cells: int, own: Tensor) -> Tensor:
        """Which rows or columns each box touches, [B, P, cells]."""
        size, offset = (x[:, axis].detach().flatten(1).gather(1, places) for x in (areas.size, areas.offset))
        away = torch.arange(cells, device=heat.device) - (own + offset)[:, :, None]
        return away.abs() < (size[:, :, None] + 1) / 2

    rows = touched(0, height, places // width) & (found >= 0)[:, :, None]
    columns = touched(1, width, places % width)
    return (rows[:, :, :, None] & columns[:, :, None, :]).any(1, keepdim=True)

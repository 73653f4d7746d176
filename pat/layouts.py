"""Where the [B, C, H, W] map sits inside a tensor that flows between the modules of a model."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

Size = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """How a tensor holds a map: "NCHW", "NHWC", or "NLC" (tokens, `prefix` of them in front of the grid).

    `order[i]` is the token that holds grid cell i where the model keeps its tokens in another order than rows.
    """

    kind: str
    channels: int
    size: Size
    prefix: int = 0
    order: Tensor | None = field(default=None, compare=False)

    def to_map(self, x: Tensor) -> Tensor:
        """The map [B, C, H, W] held by `x`. Raises ValueError if the token count is not the grid's."""
        if self.kind == "NCHW":
            return x
        if self.kind == "NHWC":
            return x.permute(0, 3, 1, 2)
        height, width = self.size
        grid = x[:, self.prefix :]
        if grid.shape[1] != height * width:
            raise ValueError(f"{grid.shape[1]} tokens do not fill the grid {height}x{width}")
        if self.order is not None:
            grid = grid[:, self.order.to(x.device)]
        return grid.transpose(1, 2).unflatten(2, self.size)

    def from_map(self, new: Tensor, x: Tensor) -> Tensor:
        """`x` with its map replaced by `new` [B, C, H, W]; prefix tokens and dtype are those of `x`."""
        new = new.to(x.dtype)
        if self.kind == "NCHW":
            return new
        if self.kind == "NHWC":
            return new.permute(0, 2, 3, 1)
        grid = new.flatten(2).transpose(1, 2)
        if self.order is not None:
            grid = grid[:, torch.argsort(self.order).to(x.device)]
        return torch.cat([x[:, : self.prefix], grid], dim=1) if self.prefix else grid


def sizes_at(image: Size, stride: float) -> list[Size]:
    """The grids that `image` (h, w) can have at `stride`, rounded down or up."""
    heights = sorted({math.ceil(image[0] / stride), math.floor(image[0] / stride)}, reverse=True)
    widths = sorted({math.ceil(image[1] / stride), math.floor(image[1] / stride)}, reverse=True)
    return [(h, w) for h in heights for w in widths if h and w]


def read_layouts(
    shape: torch.Size, batch: int, channels: Collection[int], sizes: Collection[Size], prefixes: Iterable[int]
) -> list[Layout]:
    """Every way in which a tensor of `shape` can hold a map, the likeliest first.

    `channels` and `sizes` are what the map is expected to have: of four dimensions one of the two must agree,
    tokens must agree in both, the class and other prefix tokens being one of the counts `prefixes`.
    """
    if len(shape) == 3 and shape[0] == batch and shape[2] in channels:
        tokens = [Layout("NLC", shape[2], size, extra) for extra in prefixes for size in sizes]
        return [layout for layout in tokens if layout.prefix + math.prod(layout.size) == shape[1]]
    if len(shape) != 4 or shape[0] != batch:
        return []
    both = [Layout("NCHW", shape[1], (shape[2], shape[3])), Layout("NHWC", shape[3], (shape[1], shape[2]))]
    score = [(layout.channels in channels) + (layout.size in sizes) for layout in both]
    ranked = sorted(zip(score, both, strict=True), key=lambda pair: -pair[0])
    return [layout for points, layout in ranked if points == max(score) > 0]


def matching(layouts: list[Layout], x: Tensor, true_map: Tensor) -> Layout | None:
    """The layout under which `x` holds `true_map` [B, C, H, W] by value; a token order is found if there is one."""
    for layout in layouts:
        if layout.size != tuple(true_map.shape[2:]) or layout.channels != true_map.shape[1]:
            continue
        if torch.equal(layout.to_map(x), true_map):
            return layout
        if layout.kind == "NLC":
            distance = torch.cdist(true_map[0].flatten(1).t().double(), x[0, layout.prefix :].double())
            ordered = replace(layout, order=distance.argmin(dim=1))
            if torch.equal(ordered.to_map(x), true_map):
                return ordered
    return None

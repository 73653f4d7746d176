"""Review of knowledge: a student's deeper maps are fused into its shallower ones (ReviewKD, Chen et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pat.align import GlobalBatchNorm2d, Shape, pair_stages, resize

WIDTH = 512
"""Channels in which maps are fused, at most; fewer where the student's last map has fewer."""


class Fusion(nn.ModuleList):
    """A student's maps -> maps of the shapes of a teacher's, each of which has in it what all deeper ones know.

    The residual learning framework of ReviewKD (arXiv 2104.09044), section 3.2, with its attention based fusion
    (section 3.3), as the public code has it: kernels, widths, start, nearest resizing. Maps are paired from the last
    one backwards. There is one more, of a single cell, where the review begins: the mean of the last map (the public
    code takes the pooled features). Where the maps of all models have one shape (`common`, a pyramid) there is none.
    """

    def __init__(self, student: Sequence[Shape], teacher: Sequence[Shape], common: bool) -> None:
        sources = [shape[0] for shape in pair_stages(student, len(teacher))]
        targets = [shape[0] for shape in teacher]
        if not common:
            sources, targets = [*sources, sources[-1]], [*targets, targets[-1]]
        width = min(WIDTH, sources[-1])
        last = len(sources) - 1
        super().__init__(
            _Fused(source, width, target, deepest=place == last)
            for place, (source, target) in enumerate(zip(sources, targets, strict=True))
        )
        self.common = common

    def forward(self, maps: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
        """The fused maps, the last of them that of a single cell, if there is one; `like`: the teacher's maps."""
        chosen, targets = self.targets(pair_stages(maps, len(like))), self.targets(like)
        fused: list[Tensor] = []
        deeper = None
        for block, x, target in reversed([*zip(self, chosen, targets, strict=True)]):
            out, deeper = block(x, deeper, target.shape[-2:])
            fused.insert(0, out)
        return fused

    def targets(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """What the fused maps are compared with, of a teacher's `maps`."""
        return [*maps] if self.common else [*maps, maps[-1].mean((2, 3), keepdim=True)]


class _Fused(nn.Module):
    """Attention based fusion of a map with what comes from the deeper ones."""

    def __init__(self, in_channels: int, width: int, channels: int, deepest: bool) -> None:
        super().__init__()
        enter, leave = (
            nn.Conv2d(in_channels, width, 1, bias=False),
            nn.Conv2d(width, channels, 3, padding=1, bias=False),
        )
        for convolution in (enter, leave):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
        self.enter = nn.Sequential(enter, GlobalBatchNorm2d(width))
        self.leave = nn.Sequential(leave, GlobalBatchNorm2d(channels))
        self.attend = None if deepest else nn.Conv2d(2 * width, 2, 1)

    def forward(self, x: Tensor, deeper: Tensor | None, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The map in the teacher's shape [B, channels, *size], and what the next shallower map is told
        [B, width, *size]."""
        x = self.enter(x)
        if self.attend is not None and deeper is not None:
            deeper = resize(deeper, x.shape[-2:])
            own, other = self.attend(torch.cat([x, deeper], dim=1)).sigmoid().chunk(2, dim=1)
            x = x * own + deeper * other
        x = resize(x, size)
        return self.leave(x), x

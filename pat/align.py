"""Projectors from the student's shape to the teacher's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_nn
import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, int, int]
"""Channels, height and width of a map."""


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose statistics are those of the global batch on any backend (torch's own needs GPUs)."""

    synchronised = True
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        sums = torch.stack([x.float().sum((0, 2, 3)), x.float().square().sum((0, 2, 3))])
        count = x.numel() / x.shape[1] * dist.get_world_size()
        mean, square = dist_nn.all_reduce(sums) / count
        variance = (square - mean.square()).clamp(min=0)
        with torch.no_grad():
            momentum = self.momentum or 0.0
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1), momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


class Aligner(nn.Module):
    """Normalise and project: [B, in_channels, h, w] -> [B, channels, h, w].

    PAT's projector (BatchNorm, 1x1 convolution, nearest resize), one form for every family. `resize` comes after it:
    the projection acts position by position, so it is done where there are fewest positions. `published`: as in the
    public code, without a bias and with its initial weights.
    """

    def __init__(self, in_channels: int, channels: int, published: bool = False) -> None:
        super().__init__()
        self.norm = GlobalBatchNorm2d(in_channels)
        self.project = nn.Conv2d(in_channels, channels, kernel_size=1, bias=not published)
        if published:
            published_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.norm(x))


class OrthogonalProjection(nn.Module):
    """[B, in_features] -> [B, features] by a matrix whose rows, or columns where there are fewer, are orthonormal.

    Whatever is learnt: it is the exponential of a skew-symmetric matrix of the larger size, cut to shape; weight decay
    pulls it to the identity. In float32, under autocast too.
    """

    def __init__(self, in_features: int, features: int) -> None:
        super().__init__()
        self.size = (features, in_features)
        small, large = sorted(self.size)
        self.generator = nn.Parameter(torch.randn(large, small) * (math.pi / 2 / math.sqrt(large)))

    @property
    def weight(self) -> Tensor:
        """[features, in_features]."""
        large, small = self.generator.shape
        lower = F.pad(self.generator.tril(-1), (0, large - small))
        rows, columns = self.size
        return torch.matrix_exp(lower - lower.T)[:rows, :columns]

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.float(), self.weight)


class Aligners(nn.ModuleList):
    """A student's maps -> maps of the shapes of a teacher's, paired from the last one backwards; `build`
    makes the projector of each pair.

    Shapes are those at the nominal canvas. Where the maps of all models have one shape (`common`), nothing is learnt.
    """

    def __init__(
        self,
        student: Sequence[Shape],
        teacher: Sequence[Shape],
        common: bool,
        build: Callable[[Shape, Shape], nn.Module],
    ) -> None:
        pairs = zip(pair_stages(student, len(teacher)), teacher, strict=True)
        super().__init__(nn.Identity() if common else build(source, target) for source, target in pairs)

    def forward(self, maps: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
        """`like`: the teacher's maps."""
        chosen = pair_stages(maps, len(like))
        return [resize(align(x), target.shape[-2:]) for align, x, target in zip(self, chosen, like, strict=True)]

    def targets(self, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        """What the aligned maps are compared with, of a teacher's `maps`: these."""
        return maps


class TokenAligner(nn.Module):
    """Two linear maps, over channels and then over positions: a map [B, *source] -> [B, *target], both (C, h, w).

    The projector of PAT's public code where the teacher works on tokens, with its initial weights: BatchNorm of each
    position before the first, of each channel before the second.
    """

    def __init__(self, source: Shape, target: Shape) -> None:
        super().__init__()
        self.size = target[1:]
        positions = source[1] * source[2]
        self.norm_positions = GlobalBatchNorm2d(positions)
        self.project_channels = nn.Linear(source[0], target[0])
        self.norm_channels = GlobalBatchNorm2d(target[0])
        self.project_positions = nn.Linear(positions, math.prod(self.size))
        published_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm_positions(x.flatten(2).transpose(1, 2)[..., None])[..., 0]  # [B, h w, C]
        tokens = self.project_channels(tokens).transpose(1, 2)
        tokens = self.norm_channels(tokens[..., None])[..., 0]  # [B, C, h w]
        return self.project_positions(tokens).unflatten(2, self.size)


class PatchAligner(nn.Module):
    """One convolution between the grids of two maps [B, *source] -> [B, *target], both (C, h, w), without a norm.

    The projector of the public code's FitNet, with its initial weights: where the source is finer, its patches are
    embedded; where it is coarser, each of its positions is unfolded into a patch. Where the ratio is no whole number,
    what is too much or too little is resized.
    """

    def __init__(self, source: Shape, target: Shape) -> None:
        super().__init__()
        self.size = target[1:]
        finer = min(source[1:]) >= min(self.size)
        whole = [max(1, round(a / b if finer else b / a)) for a, b in zip(source[1:], self.size, strict=True)]
        self.patch = (whole[0], whole[1])
        self.unfolds = not finer
        kernel = (1, 1) if self.unfolds else self.patch
        out = target[0] * math.prod(self.patch) if self.unfolds else target[0]
        self.project = nn.Conv2d(source[0], out, kernel_size=kernel, stride=kernel)
        published_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        (rows, columns), (height, width) = self.patch, self.size
        if not self.unfolds:
            return self.project(resize(x, (height * rows, width * columns)))
        patches = self.project(x).unflatten(1, (-1, rows, columns))  # [B, C, rows, columns, h, w]
        return resize(patches.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3), self.size)


def published_weights(module: nn.Module) -> None:
    """The initial weights that the public codes of OFA-KD and PAT give their projectors and heads, drawn anew.

    Convolutions: normal of deviation sqrt(2 / fan out); linear maps: normal of deviation 0.02, bias 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Nearest-neighbour resize of [B, C, h, w] to [B, C, *size]; nothing is done where the size is right."""
    return x if tuple(x.shape[-2:]) == tuple(size) else F.interpolate(x, tuple(size), mode="nearest")


def pooled(x: Tensor, size: Sequence[int]) -> Tensor:
    """Averages of [B, C, h, w] over the cells of a grid of `size`, where that is not finer than the map."""
    (height, width), (rows, columns) = x.shape[-2:], size
    smaller = (min(height, rows), min(width, columns))
    return x if smaller == (height, width) else F.adaptive_avg_pool2d(x, smaller)


T = TypeVar("T")


def pair_stages(student: Sequence[T], stages: int) -> list[T]:
    """The student's part of each of a teacher's `stages`, paired from the last one backwards; the first may repeat."""
    lead = len(student) - stages
    return [student[max(0, stage + lead)] for stage in range(stages)]

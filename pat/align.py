"""Projectors from the student's shape to the teacher's."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    the projection acts position by position, so it is done where there are fewest positions.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.norm = GlobalBatchNorm2d(in_channels)
        self.project = nn.Conv2d(in_channels, channels, kernel_size=1)

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
    """A student's maps -> maps of the shapes of a teacher's, each by an `Aligner`, paired from the last one backwards.

    Shapes are those at the nominal canvas. Where the maps of all models have one shape (`common`), nothing is learnt.
    """

    def __init__(self, student: Sequence[Shape], teacher: Sequence[Shape], common: bool) -> None:
        pairs = zip(pair_stages(student, len(teacher)), teacher, strict=True)
        super().__init__(nn.Identity() if common else Aligner(source[0], target[0]) for source, target in pairs)

    def forward(self, maps: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
        """`like`: the teacher's maps."""
        chosen = pair_stages(maps, len(like))
        return [resize(align(x), target.shape[-2:]) for align, x, target in zip(self, chosen, like, strict=True)]

    def targets(self, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        """What the aligned maps are compared with, of a teacher's `maps`: these."""
        return maps


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Nearest-neighbour resize of [B, C, h, w] to [B, C, *size]; nothing is done where the size is right."""
    return x if tuple(x.shape[-2:]) == tuple(size) else F.interpolate(x, tuple(size), mode="nearest")


T = TypeVar("T")


def pair_stages(student: Sequence[T], stages: int) -> list[T]:
    """The student's part of each of a teacher's `stages`, paired from the last one backwards; the first may repeat."""
    lead = len(student) - stages
    return [student[max(0, stage + lead)] for stage in range(stages)]

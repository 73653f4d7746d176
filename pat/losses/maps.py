"""Losses between two maps [B, C, H, W]: scalars, computed in float32 whatever the inputs are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pat.moments import over

NORMS = ("none", "variance")
"""What the losses of stages may be divided by."""


def hcl_loss(student: Tensor, teacher: Tensor, levels: tuple[int, ...] = (4, 2, 1)) -> Tensor:
    """Hierarchical context loss between two maps [B, C, H, W]: MSE at full size and of averages over l x l grids.

    Level weights 1, 1/2, 1/4, …, normalised to sum 1; a grid not smaller than the map is skipped.
    ReviewKD, Chen et al. 2021 (arXiv 2104.09044), section 3.3; the feature distance L_FD of PAT.
    """
    student, teacher = student.float(), teacher.float()
    total, weight, weights = F.mse_loss(student, teacher), 1.0, 1.0
    for level in levels:
        if level >= min(student.shape[-2:]):
            continue
        weight /= 2
        total = total + weight * F.mse_loss(
            F.adaptive_avg_pool2d(student, level), F.adaptive_avg_pool2d(teacher, level)
        )
        weights += weight
    return total / weights


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two maps of one shape [B, C, H, W].

    FitNets, Romero et al. 2015 (arXiv 1412.6550), equation 3, with the mean in place of half the sum.
    """
    return F.mse_loss(student.float(), teacher.float())


def area_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Squared difference of two maps of one shape [B, C, H, W] where `mask` bool [B, 1, H, W] is true, mean over all
    places.

    L_DA of SoKD, Shen et al. 2024 (arXiv 2409.18785), over the union of the areas.
    """
    return ((student.float() - teacher.float()).square() * mask).mean()


def over_stages(losses: Sequence[Tensor], spreads: Sequence[Tensor] = ()) -> Tensor:
    """The sum of the stages' losses, as the papers have it.

    Where `spreads`, the variances of the targets, are given, the mean over the stages of each loss over its own: the
    share of the target that is not explained, which weighs the same whatever variance a teacher happens to have. A
    stage whose target does not vary counts as 0.
    """
    if not spreads:
        return torch.stack([*losses]).sum()
    return torch.stack([over(loss, spread) for loss, spread in zip(losses, spreads, strict=True)]).mean()

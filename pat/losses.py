"""Distillation losses: pure functions of tensors, each a scalar, computed in float32 whatever the inputs are."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy of `logits` [B, C] and target distributions `targets` [B, C]."""
    return F.cross_entropy(logits.float(), targets)


def kd_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean KL(teacher || student) of two sets of logits [B, C], softened by `temperature`, times its square.

    Hinton, Vinyals & Dean 2015 (arXiv 1503.02531), section 2.
    """
    log_student = F.log_softmax(student.float() / temperature, dim=1)
    log_teacher = F.log_softmax(teacher.float() / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2


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

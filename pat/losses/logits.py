"""Losses between two sets of logits [B, C]: scalars, computed in float32 whatever the inputs are."""

from __future__ import annotations

import torch
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


def dkd_loss(student: Tensor, teacher: Tensor, labels: Tensor, alpha: float, beta: float, temperature: float) -> Tensor:
    """T^2 * (alpha * KL of target against rest + beta * KL within the rest) of logits [B, C].

    Decoupled Knowledge Distillation, Zhao et al. 2022 (arXiv 2203.08679), equation 7. `labels` int64 [B]. With one
    class there is nothing to tell apart: 0.
    """
    classes = student.shape[1]
    if classes == 1:
        return student.float().sum() * 0
    target = F.one_hot(labels, classes).bool()

    def parts(logits: Tensor) -> tuple[Tensor, Tensor]:
        scaled = logits.float() / temperature
        rest = scaled[~target].view(len(scaled), classes - 1)
        binary = torch.stack([scaled[target], rest.logsumexp(1)], dim=1)
        return F.log_softmax(binary, dim=1), F.log_softmax(rest, dim=1)

    kls = [
        F.kl_div(s, t, reduction="batchmean", log_target=True)
        for s, t in zip(parts(student), parts(teacher), strict=True)
    ]
    return (alpha * kls[0] + beta * kls[1]) * temperature**2


def dist_loss(student: Tensor, teacher: Tensor, beta: float, gamma: float, temperature: float) -> Tensor:
    """beta * (1 - correlation over classes) + gamma * (1 - correlation over the batch) of the softened probabilities.

    DIST, Huang et al. 2022 (arXiv 2205.10536), equations 8 to 10, on logits [B, C]; times the temperature squared.
    Where one side does not vary, its correlation counts as 0.
    """
    p_student, p_teacher = (F.softmax(x.float() / temperature, dim=1) for x in (student, teacher))
    inter = 1 - pearson(p_student, p_teacher).mean()
    intra = 1 - pearson(p_student.T, p_teacher.T).mean()
    return (beta * inter + gamma * intra) * temperature**2


def pearson(a: Tensor, b: Tensor, least: float = 1e-6) -> Tensor:
    """Pearson correlation of each row of `a` [N, M] with the same row of `b`: [N].

    0, without a gradient, where a row deviates from its mean by less than `least`: a student whose classifier starts
    at zero would get gradients of the order of 1 / rounding error.
    """
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    norm_a, norm_b = a.norm(dim=1), b.norm(dim=1)
    varies = (norm_a > least) & (norm_b > least)
    return torch.where(varies, (a * b).sum(1) / torch.where(varies, norm_a * norm_b, 1.0), 0.0)


def ofa_loss(student: Tensor, teacher: Tensor, labels: Tensor, epsilon: float, temperature: float) -> Tensor:
    """-sum(((p_teacher + 1_y) ** epsilon - 1_y) log p_student) over the classes of logits [B, C], mean over the batch.

    OFA-KD, Hao et al. 2023 (arXiv 2310.19444), equation 7: the teacher's certainty modulates the target class.
    """
    log_student = F.log_softmax(student.float() / temperature, dim=1)
    p_teacher = F.softmax(teacher.float() / temperature, dim=1)
    target = F.one_hot(labels, student.shape[1]).float()
    return -(((p_teacher + target) ** epsilon - target) * log_student).sum(1).mean()

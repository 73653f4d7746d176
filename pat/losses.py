"""Distillation losses: pure functions of tensors, each a scalar, computed in float32 whatever the inputs are."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def full_precision(like: Tensor) -> torch.autocast:
    """A context in which autocast leaves matrix products alone, on the device of `like`."""
    return torch.autocast(like.device.type, enabled=False)


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


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two maps of one shape [B, C, H, W].

    FitNets, Romero et al. 2015 (arXiv 1412.6550), equation 3, with the mean in place of half the sum.
    """
    return F.mse_loss(student.float(), teacher.float())


def correlation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Products of the absolute differences of neighbours in the batch, summed over features [B, D], mean over pairs.

    The form in which the public code of the tables has Correlation Congruence; 0 for a batch of one.
    """
    difference = (student.float() - teacher.float()).abs()
    if len(difference) < 2:
        return difference.sum() * 0
    return (difference[:-1] * difference[1:]).sum(1).mean()


def kernel_correlation_loss(student: Tensor, teacher: Tensor, gamma: float = 0.4, order: int = 2) -> Tensor:
    """Mean squared difference of two B x B correlation matrices of features [B, D] (their own widths may differ).

    Correlation is the Gaussian kernel of normalised features, its Taylor series cut after `order`: Correlation
    Congruence, Peng et al. 2019 (arXiv 1904.01802), equations 4, 7 and 8.
    """

    def correlations(x: Tensor) -> Tensor:
        x = F.normalize(x.float(), dim=1)
        cosines = x @ x.T
        terms = [(2 * gamma) ** p / math.factorial(p) * cosines**p for p in range(order + 1)]
        return math.exp(-2 * gamma) * torch.stack(terms).sum(0)

    with full_precision(student):
        return F.mse_loss(correlations(student), correlations(teacher))


def rkd_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber distance of the pairwise distances of features [B, D] (widths may differ), each set over its own mean.

    RKD-D, Park et al. 2019 (arXiv 1904.05068), equations 5 to 8; mean over all B x B places.
    """

    def relative(x: Tensor) -> Tensor:
        distances = torch.cdist(x.float(), x.float(), compute_mode="donot_use_mm_for_euclid_dist")
        count = (distances > 0).sum().clamp(min=1)
        return distances / (distances.sum() / count).clamp(min=1e-12)

    return F.smooth_l1_loss(relative(student), relative(teacher))


def rkd_angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber distance of the cosines of the angles that any three samples' features [B, D] span.

    RKD-A, Park et al. 2019 (arXiv 1904.05068), equations 9 and 10; mean over all B x B x B places.
    """

    def cosines(x: Tensor) -> Tensor:
        edges = F.normalize(x.float()[None] - x.float()[:, None], dim=2)  # [vertex, other, D]
        return edges @ edges.transpose(1, 2)

    with full_precision(student):
        return F.smooth_l1_loss(cosines(student), cosines(teacher))


def nce_loss(scores: Tensor, images: int) -> Tensor:
    """Noise-contrastive estimation over scores [B, 1 + K] >= 0, the positive first, under 1/`images` for noise.

    CRD, Tian et al. 2020 (arXiv 1910.10699), equation 18: h = score / (score + K / images).
    """
    positive, negative = scores.float().split([1, scores.shape[1] - 1], dim=1)
    noise = negative.shape[1] / images
    tiny = torch.finfo(torch.float32).tiny
    hit = (positive / (positive + noise).clamp(min=tiny)).clamp(min=tiny).log()
    miss = (noise / (negative + noise).clamp(min=tiny)).clamp(min=tiny).log()
    return -(hit.sum() + miss.sum()) / len(scores)


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

"""Losses between what two models make of a batch as a whole: scalars, computed in float32 whatever the inputs are."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pat.losses.correlation import standardise


def full_precision(like: Tensor) -> torch.autocast:
    """A context in which autocast leaves matrix products alone, on the device of `like`."""
    return torch.autocast("cpu" if like.is_meta else like.device.type, enabled=False)


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


def redundancy_loss(student: Tensor, teacher: Tensor, kappa: float) -> Tensor:
    """Sum of the squared differences of the D x D matrix of correlations over the batch, of each of the student's
    features [B, D] with each of the teacher's, from the identity; those off its diagonal count `kappa`.

    RSD, Zhang et al. 2025 (arXiv 2507.21844). A feature that does not vary has correlation 0.
    """
    with full_precision(student):
        correlations = standardise(student, 0).T @ standardise(teacher, 0) / len(student)
    diagonal = correlations.diagonal()
    return (1 - diagonal).square().sum() + kappa * (correlations.square().sum() - diagonal.square().sum())


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


def info_nce_loss(one: Tensor, other: Tensor, scale: Tensor, least: float = 1e-6) -> Tensor:
    """Cross entropy of finding each row of `one` [B, D] among all rows of `other`, and the other way round; their mean.

    What is compared are cosines times `scale`, one over the temperature: van den Oord et al. 2018 (arXiv 1807.03748),
    equation 4; both ways as in CLIP (Radford et al. 2021, arXiv 2103.00020). A row shorter than `least` has no
    direction: its cosines are 0, without a gradient.
    """

    def directions(x: Tensor) -> Tensor:
        x = x.float()
        length = x.norm(dim=1, keepdim=True)
        return torch.where(length > least, x / length.clamp(min=least), 0.0)

    with full_precision(one):
        scores = scale.float() * (directions(one) @ directions(other).T)
    own = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2

"""Losses between two sets of logits [B, C]: scalars, computed in float32 whatever the inputs are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pat.losses.correlation import pearson


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
    if student.shape[1] == 1:
        return student.float().sum() * 0
    kls = [
        F.kl_div(s, t, reduction="batchmean", log_target=True)
        for s, t in zip(*(_decoupled(x, labels, temperature) for x in (student, teacher)), strict=True)
    ]
    return (alpha * kls[0] + beta * kls[1]) * temperature**2


def nkd_loss(student: Tensor, teacher: Tensor, labels: Tensor, gamma: float, temperature: float) -> Tensor:
    """-p_y log q_y - gamma * T^2 * sum over the rest of N(p) log N(q), of logits [B, C]; mean over the batch.

    Normalised knowledge distillation, Yang et al. 2023 (arXiv 2303.13005): p is the teacher's and q the
    student's distribution, N that among the classes other than y, softened by T (the target's are not). `labels`
    int64 [B]. 0 with one class.
    """
    if student.shape[1] == 1:
        return student.float().sum() * 0
    log_q, log_p = (F.log_softmax(x.float(), dim=1).gather(1, labels[:, None]) for x in (student, teacher))
    (_, rest_q), (_, rest_p) = (_decoupled(x, labels, temperature) for x in (student, teacher))
    own, others = ((log_a.exp() * log_b).sum(1).mean() for log_a, log_b in ((log_p, log_q), (rest_p, rest_q)))
    return -own - gamma * temperature**2 * others


def ttm_loss(student: Tensor, teacher: Tensor, exponent: float, weighted: bool) -> Tensor:
    """Mean KL(power of the teacher || student) of logits [B, C], each image `weighted` by the sum of those powers.

    Transformed teacher matching, Zheng & Yang 2024 (arXiv 2402.11148): the teacher's probabilities are raised to
    `exponent` and normalised, the student's have no temperature; the weights make it WTTM.
    """
    log_powers = exponent * F.log_softmax(teacher.float(), dim=1)
    log_sum = log_powers.logsumexp(1, keepdim=True)
    log_student = F.log_softmax(student.float(), dim=1)
    divergences = F.kl_div(log_student, log_powers - log_sum, reduction="none", log_target=True).sum(1)
    return (log_sum[:, 0].exp() * divergences if weighted else divergences).mean()


def confidence_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """T^2 * mean KL of (the teacher's surest class, all others) from (the student's true class, all others).

    Sample confidence distillation of refined logits (RLD), Sun et al. 2024 (arXiv 2408.07703), of logits
    [B, C]; `labels` int64 [B]. 0 with one class.
    """
    if student.shape[1] == 1:
        return student.float().sum() * 0
    own, _ = _decoupled(student, labels, temperature)
    surest, _ = _decoupled(teacher, teacher.argmax(1), temperature)
    return F.kl_div(own, surest, reduction="batchmean", log_target=True) * temperature**2


def masked_correlation_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """T^2 * mean KL(teacher || student) among the classes that the teacher holds for less likely than the true one.

    Masked correlation distillation of refined logits (RLD), Sun et al. 2024 (arXiv 2408.07703), of logits
    [B, C]; `labels` int64 [B]. An image of which fewer than two classes are left adds 0.
    """
    dropped = teacher >= teacher.gather(1, labels[:, None])
    log_q, log_p = (_log_softmax_without(dropped, x.float() / temperature) for x in (student, teacher))
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True) * temperature**2


def self_distillation_losses(student: Tensor, weak: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three means over the batch, of the logits [B, C] of a student and of a weak classifier on its earlier features,
    under target distributions [B, C]: of the targets, of the other classes, of the weak classifier.

    Universal self-knowledge distillation (USKD), Yang et al. 2023 (arXiv 2303.13005). An image has one
    target, or two where two are mixed. A target's soft label is its share plus the square of its probability, less the
    mean of these squares over the batch. The others' follow Zipf's law: 1 / rank by the sum of both classifiers'
    probabilities among them, normalised. The weak classifier learns the targets, smoothed by 0.1.
    """
    student, weak = student.float(), weak.float()
    shares, labels, there = _two_targets(targets)
    log_own = F.log_softmax(student, dim=1).gather(1, labels)
    square = log_own.detach().exp().square() * there
    soft = (square + shares - square.sum(0) / there.sum(0).clamp(min=1)) * there
    own = torch.zeros_like(targets, dtype=torch.bool).scatter(1, labels, there)
    rest_student, rest_weak = (_log_softmax_without(own, x) for x in (student, weak))
    likely = torch.logaddexp(rest_student, rest_weak).detach().masked_fill(own, -torch.inf)
    rank = likely.argsort(dim=1, descending=True, stable=True).argsort(1) + 1
    zipf = (1.0 / rank).masked_fill(own, 0.0)
    zipf = zipf / zipf.sum(1, keepdim=True).clamp(min=1.0)
    smooth = 0.9 * targets + 0.1 / targets.shape[1]
    pairs = (soft, log_own), (zipf, rest_student), (smooth, F.log_softmax(weak, dim=1))
    of_targets, of_others, of_weak = (-(wanted * log_p).sum(1).mean() for wanted, log_p in pairs)
    return of_targets, of_others, of_weak


def dist_loss(student: Tensor, teacher: Tensor, beta: float, gamma: float, temperature: float) -> Tensor:
    """beta * (1 - correlation over classes) + gamma * (1 - correlation over the batch) of the softened probabilities.

    DIST, Huang et al. 2022 (arXiv 2205.10536), equations 8 to 10, on logits [B, C]; times the temperature squared.
    Where one side does not vary, its correlation counts as 0. Probabilities are taken over the largest of their row,
    which changes no correlation and loses none to underflow.
    """
    log_q, log_p = (F.log_softmax(x.float() / temperature, dim=1) for x in (student, teacher))
    inter, intra = (
        1 - pearson(_over_largest(a), _over_largest(b)).mean() for a, b in ((log_q, log_p), (log_q.T, log_p.T))
    )
    return (beta * inter + gamma * intra) * temperature**2


def ofa_loss(student: Tensor, teacher: Tensor, labels: Tensor, epsilon: float, temperature: float) -> Tensor:
    """-sum(((p_teacher + 1_y) ** epsilon - 1_y) log p_student) over the classes of logits [B, C], mean over the batch.

    OFA-KD, Hao et al. 2023 (arXiv 2310.19444), equation 7: the teacher's certainty modulates the target class.
    """
    log_student = F.log_softmax(student.float() / temperature, dim=1)
    p_teacher = F.softmax(teacher.float() / temperature, dim=1)
    target = F.one_hot(labels, student.shape[1]).float()
    return -(((p_teacher + target) ** epsilon - target) * log_student).sum(1).mean()


def _decoupled(logits: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities of softened logits [B, C], C > 1: of a class against all others [B, 2], and of each of these
    among themselves [B, C] (0 for the class itself)."""
    scaled = logits.float() / temperature
    own = labels[:, None] == torch.arange(scaled.shape[1], device=scaled.device)
    others = scaled.masked_fill(own, -torch.inf).logsumexp(1)
    binary = torch.stack([scaled.gather(1, labels[:, None])[:, 0], others], dim=1)
    return F.log_softmax(binary, dim=1), _log_softmax_without(own, scaled)


def _log_softmax_without(dropped: Tensor, logits: Tensor) -> Tensor:
    """Log-softmax over the classes of each row [B, C] that are not dropped; 0, without a gradient, for the dropped."""
    kept = logits.masked_fill(dropped & ~dropped.all(1, keepdim=True), -torch.inf)
    return F.log_softmax(kept, dim=1).masked_fill(dropped, 0.0)


def _two_targets(targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two largest shares of each row [B, C] (one, of one class), their classes, and whether they are targets: the
    second is where it is above all the rest, which may have label smoothing's share."""
    found = targets.topk(min(3, targets.shape[1]), dim=1)
    shares, labels = found.values[:, :2], found.indices[:, :2]
    rest = found.values[:, 2:] if targets.shape[1] > 2 else shares.new_zeros(len(shares), 1)
    return shares, labels, torch.cat([torch.ones_like(labels[:, :1]).bool(), shares[:, 1:] > rest], dim=1)


def _over_largest(log_p: Tensor) -> Tensor:
    """Probabilities over the largest of their row."""
    return (log_p - log_p.detach().amax(1, keepdim=True)).exp()

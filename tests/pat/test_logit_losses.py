"""DKD, DIST and OFA against slow literal versions of their formulas, at their edges, and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pat.losses import dist_loss, dkd_loss, kd_loss, ofa_loss, pearson
from tests.pat.strategies import Rows, log_softmax, matrices, random, softmax

temperatures = st.floats(0.25, 20)
weights = st.floats(0, 5)


def literal_dkd(student: Tensor, teacher: Tensor, labels: Tensor, alpha: float, beta: float, t: float) -> float:
    """Equation 7 with the probabilities of equations 1 to 3, term by term."""
    total = 0.0
    for s, z, y in zip(student.double().tolist(), teacher.double().tolist(), labels.tolist(), strict=True):
        log_ps, log_pt = log_softmax(s, t), log_softmax(z, t)
        others = [c for c in range(len(s)) if c != y]
        rest = [sum(math.exp(log_p[c]) for c in others) for log_p in (log_ps, log_pt)]
        total += alpha * math.exp(log_pt[y]) * (log_pt[y] - log_ps[y])
        if others and min(rest) > 0:
            total += alpha * rest[1] * (math.log(rest[1]) - math.log(rest[0]))
        if others:
            among = [log_softmax([row[c] for c in others], t) for row in (s, z)]
            total += beta * sum(math.exp(b) * (b - a) for a, b in zip(*among, strict=True))
    return t**2 * total / len(labels)


def literal_correlation(a: list[float], b: list[float]) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    product = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    norms = [math.sqrt(sum((x - m) ** 2 for x in row)) for row, m in ((a, mean_a), (b, mean_b))]
    return product / (norms[0] * norms[1]) if min(norms) > 1e-6 else 0.0


def literal_dist(student: Tensor, teacher: Tensor, beta: float, gamma: float, t: float) -> float:
    rows = [[softmax(row, t) for row in x.double().tolist()] for x in (student, teacher)]
    columns = [[list(column) for column in zip(*x, strict=True)] for x in rows]
    inter, intra = (
        1 - sum(literal_correlation(a, b) for a, b in zip(*sides, strict=True)) / len(sides[0])
        for sides in (rows, columns)
    )
    return (beta * inter + gamma * intra) * t**2


def literal_ofa(student: Tensor, teacher: Tensor, labels: Tensor, epsilon: float, t: float) -> float:
    total = 0.0
    for s, z, y in zip(student.double().tolist(), teacher.double().tolist(), labels.tolist(), strict=True):
        log_p, q = log_softmax(s, t), softmax(z, t)
        total -= sum(((q[c] + (c == y)) ** epsilon - (c == y)) * log_p[c] for c in range(len(s)))
    return total / len(labels)


def sides(values: Rows, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    student = torch.tensor(values)
    labels = torch.randint(student.shape[1], (len(student),), generator=torch.Generator().manual_seed(seed))
    return student, random(*student.shape, seed), labels


@given(matrices(), weights, weights, temperatures, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_dkd_is_the_formula(values: Rows, alpha: float, beta: float, t: float, seed: int) -> None:
    student, teacher, labels = sides(values, seed)
    found = dkd_loss(student, teacher, labels, alpha, beta, t).item()
    assert found == pytest.approx(literal_dkd(student, teacher, labels, alpha, beta, t), rel=2e-4, abs=2e-4 * t**2)


@given(matrices(columns=(2, 6)), temperatures, st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_dkd_puts_kd_together_again(values: Rows, t: float, seed: int) -> None:
    """Equation 6: KD is TCKD + (1 - p_target) NCKD, image by image."""
    student, teacher, labels = sides(values, seed)
    for row in range(len(student)):
        one = slice(row, row + 1)
        rest = 1 - teacher[one].div(t).softmax(1)[0, labels[row]].item()
        whole = dkd_loss(student[one], teacher[one], labels[one], 1.0, rest, t)
        assert whole.item() == pytest.approx(kd_loss(student[one], teacher[one], t).item(), rel=1e-3, abs=1e-3 * t**2)


def test_dkd_by_hand() -> None:
    """Target 1/2 against 3/4 of the teacher; the two others alike on the student's side, 2 : 1 on the teacher's."""
    student = torch.tensor([[math.log(2.0), 0.0, 0.0]])
    teacher = torch.tensor([[math.log(9.0), math.log(2.0), 0.0]])
    target = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    others = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    for alpha, beta in ((1.0, 0.0), (0.0, 1.0), (1.0, 2.0)):
        found = dkd_loss(student, teacher, torch.tensor([0]), alpha, beta, 1.0).item()
        assert found == pytest.approx(alpha * target + beta * others, rel=1e-5)


@given(matrices(), weights, weights, temperatures, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_dist_is_the_formula(values: Rows, beta: float, gamma: float, t: float, seed: int) -> None:
    student, teacher, _ = sides(values, seed)
    p = [x.double().div(t).softmax(1) for x in (student, teacher)]
    flat = min((q - q.mean(d, keepdim=True)).norm(dim=d).min().item() for q in p for d in (0, 1))
    if flat < 1e-3:  # rounding decides the correlation of what hardly varies
        return
    found = dist_loss(student, teacher, beta, gamma, t).item()
    expected = literal_dist(student, teacher, beta, gamma, t)
    assert found == pytest.approx(expected, rel=1e-3, abs=2e-3 * t**2 * max(beta, gamma) + 1e-9)


def test_dist_by_hand() -> None:
    """Two classes, two images: the student is right about the first image and wrong about the second."""
    student, teacher = torch.tensor([[5.0, 0.0], [5.0, 0.0]]), torch.tensor([[5.0, 0.0], [0.0, 5.0]])
    assert dist_loss(student, teacher, 1.0, 0.0, 1.0).item() == pytest.approx(1.0)  # 1 - (1 - 1) / 2
    assert dist_loss(student, teacher, 0.0, 1.0, 1.0).item() == pytest.approx(1.0)  # the student never varies
    flat = torch.zeros(2, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(dist_loss(flat, torch.eye(3)[:2], 1.0, 1.0, 1.0), flat)
    assert gradient.abs().max() == 0
    assert dist_loss(teacher * 2, teacher, 1.0, 1.0, 1.0).item() == pytest.approx(0.0, abs=1e-5)


@given(st.integers(2, 8), st.floats(0.1, 5), st.floats(-3, 3), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_correlation_ignores_scale_and_shift(size: int, scale: float, shift: float, seed: int) -> None:
    a, b = random(3, size, seed), random(3, size, seed + 1)
    torch.testing.assert_close(pearson(a * scale + shift, b), pearson(a, b), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(pearson(a, a), torch.ones(3), rtol=1e-3, atol=1e-3)


@given(matrices(), st.floats(0.5, 2.5), temperatures, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_ofa_is_the_formula(values: Rows, epsilon: float, t: float, seed: int) -> None:
    student, teacher, labels = sides(values, seed)
    found = ofa_loss(student, teacher, labels, epsilon, t).item()
    assert found == pytest.approx(literal_ofa(student, teacher, labels, epsilon, t), rel=1e-3, abs=1e-3)


def test_ofa_by_hand() -> None:
    """Epsilon 1 is the teacher's cross entropy; 2 adds what the teacher is sure of to the target."""
    student, teacher = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    assert ofa_loss(student, teacher, torch.tensor([0]), 1.0, 1.0).item() == pytest.approx(math.log(2))
    # (1.75^2 - 1 + 0.25^2) log 2
    assert ofa_loss(student, teacher, torch.tensor([0]), 2.0, 1.0).item() == pytest.approx(2.125 * math.log(2))


@pytest.mark.parametrize("temperature", [0.01, 1.0, 1e4])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 1), (4, 5)])
def test_edges_are_finite(shape: tuple[int, int], temperature: float) -> None:
    """One class, one image, hot and cold, huge and equal logits: all finite (half precision may overflow)."""
    labels = torch.zeros(shape[0], dtype=torch.int64)
    cases = [random(*shape, 1), random(*shape, 1) * 300, torch.zeros(shape), torch.full(shape, 60.0)]
    for teacher in cases:
        for start in cases:
            for kind in (torch.float32, torch.float16, torch.bfloat16):
                student = start.to(kind).requires_grad_()
                for loss in (
                    dkd_loss(student, teacher.to(kind), labels, 1.0, 2.0, temperature),
                    dist_loss(student, teacher.to(kind), 1.0, 1.0, temperature),
                    ofa_loss(student, teacher.to(kind), labels, 1.5, temperature),
                ):
                    (gradient,) = torch.autograd.grad(loss, student)
                    assert loss.dtype == torch.float32 and torch.isfinite(loss) and not gradient.isnan().any()
                    assert kind != torch.float32 or torch.isfinite(gradient).all()


def test_identical_logits() -> None:
    """Nothing to learn from oneself: DKD and DIST are 0 and flat."""
    logits = random(4, 5, 3).requires_grad_()
    labels = torch.arange(4)
    for loss in (
        dkd_loss(logits, logits.detach(), labels, 1.0, 2.0, 2.0),
        dist_loss(logits, logits.detach(), 1.0, 1.0, 1.0),
    ):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert abs(loss.item()) < 1e-5 and gradient.abs().max() < 1e-5

"""Hints, correlations, relations and contrast against slow literal versions of their formulas, and by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pat.losses import (
    correlation_loss,
    hint_loss,
    info_nce_loss,
    kernel_correlation_loss,
    nce_loss,
    rkd_angle_loss,
    rkd_distance_loss,
)
from tests.pat.strategies import Rows, matrices, random
from tests.pat.test_workers import in_float64


def tell_apart(one: Tensor, other: Tensor) -> Tensor:
    return info_nce_loss(one, other, torch.tensor(100.0))


LOSSES = (hint_loss, correlation_loss, kernel_correlation_loss, rkd_distance_loss, rkd_angle_loss, tell_apart)


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def minus(a: list[float], b: list[float]) -> list[float]:
    return [x - y for x, y in zip(a, b, strict=True)]


def huber(x: float) -> float:
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def literal_kernel(student: Rows, teacher: Rows, gamma: float) -> float:
    """Second-order Taylor series of the Gaussian kernel of normalised rows, pair by pair."""

    def kernel(a: list[float], b: list[float]) -> float:
        cosine = dot(a, b) / max(math.sqrt(dot(a, a)), 1e-12) / max(math.sqrt(dot(b, b)), 1e-12)
        return math.exp(-2 * gamma) * (1 + 2 * gamma * cosine + (2 * gamma * cosine) ** 2 / 2)

    places = range(len(student))
    square = sum((kernel(student[i], student[j]) - kernel(teacher[i], teacher[j])) ** 2 for i in places for j in places)
    return square / len(student) ** 2


def literal_distance(student: Rows, teacher: Rows) -> float:
    places = range(len(student))

    def relative(rows: Rows) -> list[list[float]]:
        lengths = [[math.sqrt(dot(d, d)) for d in (minus(rows[i], rows[j]) for j in places)] for i in places]
        positive = [x for row in lengths for x in row if x > 0]
        mean = sum(positive) / len(positive) if positive else 1.0
        return [[x / mean for x in row] for row in lengths]

    a, b = relative(student), relative(teacher)
    return sum(huber(a[i][j] - b[i][j]) for i in places for j in places) / len(student) ** 2


def literal_angle(student: Rows, teacher: Rows) -> float:
    places = range(len(student))

    def cosine(rows: Rows, i: int, j: int, k: int) -> float:
        a, b = minus(rows[i], rows[j]), minus(rows[k], rows[j])
        return dot(a, b) / max(math.sqrt(dot(a, a)), 1e-12) / max(math.sqrt(dot(b, b)), 1e-12)

    total = sum(
        huber(cosine(student, i, j, k) - cosine(teacher, i, j, k)) for i in places for j in places for k in places
    )
    return total / len(student) ** 3


def literal_nce(scores: Rows, images: int) -> float:
    total = 0.0
    for positive, *negatives in scores:
        noise = len(negatives) / images
        total -= math.log(positive / (positive + noise))
        total -= sum(math.log(noise / (x + noise)) for x in negatives)
    return total / len(scores)


def literal_info_nce(one: Rows, other: Rows, scale: float) -> float:
    """Each row's own partner among all, found from both sides, pair by pair."""

    def cosine(a: list[float], b: list[float]) -> float:
        lengths = math.sqrt(dot(a, a)), math.sqrt(dot(b, b))
        return dot(a, b) / (lengths[0] * lengths[1]) if min(lengths) > 1e-6 else 0.0

    total, places = 0.0, range(len(one))
    for anchors, others in ((one, other), (other, one)):
        for i in places:
            scores = [scale * cosine(anchors[i], others[j]) for j in places]
            total -= scores[i] - max(scores) - math.log(sum(math.exp(x - max(scores)) for x in scores))
    return total / (2 * len(one))


features = matrices(rows=(2, 5), columns=(1, 4), reach=8)


def spread(x: Tensor) -> bool:
    """Whether any two rows are the same or well apart: in between, rounding decides about directions."""
    distances = torch.cdist(x.double(), x.double())
    return bool(((distances == 0) | (distances > 1e-2)).all()) and bool((x.norm(dim=1) > 1e-2).all())


@given(features, st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_relations_are_the_formulas(values: Rows, width: int, seed: int) -> None:
    """Student and teacher features of different widths."""
    student, teacher = torch.tensor(values), random(len(values), width, seed)
    if not spread(student) or not spread(teacher):
        return
    rows = student.double().tolist(), teacher.double().tolist()
    assert rkd_distance_loss(student, teacher).item() == pytest.approx(literal_distance(*rows), rel=1e-3, abs=1e-5)
    assert rkd_angle_loss(student, teacher).item() == pytest.approx(literal_angle(*rows), rel=1e-3, abs=1e-4)
    found = kernel_correlation_loss(student, teacher, gamma=0.4).item()
    assert found == pytest.approx(literal_kernel(*rows, gamma=0.4), rel=1e-3, abs=1e-6)


def test_relations_by_hand() -> None:
    """A right angle against a straight line: distances 1, 1, sqrt 2 against 1, 1, 2."""
    corner, line = torch.tensor([[0.0, 0], [1, 0], [0, 1]]), torch.tensor([[0.0], [1], [-1]])
    mean_corner, mean_line = (2 + math.sqrt(2)) / 3, 4 / 3
    short, long = 1 / mean_corner - 1 / mean_line, math.sqrt(2) / mean_corner - 2 / mean_line
    assert rkd_distance_loss(corner, line).item() == pytest.approx((4 * huber(short) + 2 * huber(long)) / 9, rel=1e-5)
    # Vertex 0: cosine 0 against -1; vertices 1 and 2: cos 45 degrees against 1. Each angle is counted both ways.
    expected = (2 * huber(1) + 4 * huber(1 - math.sqrt(0.5))) / 27
    assert rkd_angle_loss(corner, line).item() == pytest.approx(expected, rel=1e-4)


@given(features, st.floats(0.1, 10), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_relations_ignore_scale_and_place(values: Rows, scale: float, seed: int) -> None:
    student = torch.tensor(values)
    if not spread(student):
        return
    moved = student.double() * scale + random(1, student.shape[1], seed).double()
    assert rkd_distance_loss(moved, student).item() == pytest.approx(0, abs=1e-4)
    assert rkd_angle_loss(moved, student).item() == pytest.approx(0, abs=1e-3)
    assert kernel_correlation_loss(student * scale, student).item() == pytest.approx(0, abs=1e-6)


@given(features, st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_hints_and_neighbours_are_the_formulas(values: Rows, seed: int) -> None:
    student = torch.tensor(values)
    teacher = random(*student.shape, seed)
    gaps = [minus(s, t) for s, t in zip(student.double().tolist(), teacher.double().tolist(), strict=True)]
    mean_square = sum(dot(gap, gap) for gap in gaps) / student.numel()
    assert hint_loss(student, teacher).item() == pytest.approx(mean_square, rel=1e-4)
    near = [sum(abs(x * y) for x, y in zip(a, b, strict=True)) for a, b in zip(gaps, gaps[1:], strict=False)]
    assert correlation_loss(student, teacher).item() == pytest.approx(sum(near) / len(near), rel=1e-4)


@given(st.lists(st.lists(st.floats(1e-3, 10), min_size=4, max_size=4), min_size=1, max_size=3), st.integers(5, 5000))
@settings(max_examples=40, deadline=None)
def test_contrast_is_the_formula(scores: Rows, images: int) -> None:
    found = nce_loss(torch.tensor(scores), images).item()
    assert found == pytest.approx(literal_nce(scores, images), rel=1e-4, abs=1e-5)


def test_contrast_by_hand() -> None:
    """One negative among ten images: noise 1/10."""
    expected = -math.log(0.3 / 0.4) - math.log(0.1 / 0.3)
    assert nce_loss(torch.tensor([[0.3, 0.2]]), 10).item() == pytest.approx(expected, rel=1e-5)


@given(matrices(rows=(1, 5), columns=(1, 4), reach=8), st.floats(0.1, 100), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_telling_images_apart_is_the_formula(values: Rows, scale: float, seed: int) -> None:
    one = torch.tensor(values)
    if ((one.norm(dim=1) > 0) & (one.norm(dim=1) < 1e-2)).any():  # rounding decides about directions
        return
    other = random(*one.shape, seed)
    found = info_nce_loss(one, other, torch.tensor(scale)).item()
    expected = literal_info_nce(one.double().tolist(), other.double().tolist(), scale)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5 * (1 + scale))


@pytest.mark.parametrize("scale", [0.1, 14.0, 100.0])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_telling_images_apart_has_the_formula_s_gradient(rows: int, scale: float) -> None:
    """Against differences of the literal version, for both sides and the scale; a row of zeros among them."""
    with in_float64():
        sides = [random(rows, 3, seed).double() for seed in (1, 2)]
        sides[0][-1] = 0 if rows > 2 else 1
        given = [*(side.clone().requires_grad_() for side in sides), torch.tensor(scale, requires_grad=True)]
        loss = info_nce_loss(*given)
        gradients = torch.autograd.grad(loss, given)
    assert loss.item() == pytest.approx(
        literal_info_nce(*(side.tolist() for side in sides), scale), rel=1e-12, abs=1e-14
    )
    for which, side in enumerate(sides):
        for i, k in itertools.product(range(rows), range(3)):
            if side[i].any():
                beside = []
                for step in (1e-6, -1e-6):
                    moved = [other.clone() for other in sides]
                    moved[which][i, k] += step
                    beside.append(literal_info_nce(*(other.tolist() for other in moved), scale))
                slope = (beside[0] - beside[1]) / 2e-6
                assert gradients[which][i, k].item() == pytest.approx(slope, rel=1e-6, abs=1e-7)
            else:
                assert gradients[which][i, k] == 0, "no direction"
    beside = [literal_info_nce(*(side.tolist() for side in sides), scale + step) for step in (1e-5, -1e-5)]
    assert gradients[2].item() == pytest.approx((beside[0] - beside[1]) / 2e-5, rel=1e-6, abs=1e-8)


def test_telling_images_apart_by_hand() -> None:
    """Equal directions are as good as chance; a batch of one has nothing to tell apart; right angles at scale 1."""
    same, scale = torch.ones(3, 2), torch.tensor(7.0)
    assert info_nce_loss(same, same * 4, scale).item() == pytest.approx(math.log(3))
    assert info_nce_loss(same[:1], -same[:1], scale) == 0
    expected = -math.log(math.e / (math.e + 1))
    assert info_nce_loss(torch.eye(2), torch.eye(2) * 5, torch.tensor(1.0)).item() == pytest.approx(expected)


def test_edges_are_finite() -> None:
    """One image, equal rows, zero rows, half precision: finite, float32, finite gradients."""
    for rows in (1, 2, 5):
        for start in (random(rows, 3, 1), torch.zeros(rows, 3), torch.ones(rows, 3)):
            for kind in (torch.float32, torch.float16, torch.bfloat16):
                student = start.to(kind).requires_grad_()
                for loss in LOSSES:
                    value = loss(student, random(rows, 3, 2).to(kind))
                    (gradient,) = torch.autograd.grad(value, student)
                    assert value.dtype == torch.float32 and torch.isfinite(value), loss
                    assert torch.isfinite(gradient).all(), loss
    for scores in (torch.zeros(2, 4), torch.full((1, 2), 1e30), torch.tensor([[0.0, 1e30]])):
        scores.requires_grad_()
        (gradient,) = torch.autograd.grad(nce_loss(scores, 10), scores)
        assert torch.isfinite(nce_loss(scores, 10)) and torch.isfinite(gradient).all()


def test_full_precision_inside_autocast() -> None:
    student, teacher = random(6, 40, 1), random(6, 40, 2)
    for loss in (rkd_distance_loss, rkd_angle_loss, kernel_correlation_loss, tell_apart):
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(loss(student, teacher), loss(student, teacher).float())
            inside = loss(student, teacher)
        assert torch.equal(inside, loss(student, teacher))

"""NKD, TTM, RLD, USKD, VkD, RSD and standardised logits against literal versions, value and gradient, at the edges."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pat.losses import (
    confidence_loss,
    dist_loss,
    dkd_loss,
    kd_loss,
    masked_correlation_loss,
    nkd_loss,
    normalised_feature_loss,
    redundancy_loss,
    self_distillation_losses,
    standardise,
    ttm_loss,
)
from tests.pat import literal
from tests.pat.strategies import random

SHAPES = [(1, 1), (1, 2), (1, 5), (4, 1), (4, 2), (5, 7)]
KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda x: x,
    "sharp": lambda x: 20 * x,
    "extreme": lambda x: 3000 * x,
    "alike": torch.zeros_like,
}
"""Logits of deviation 3, 60, 9,000 and 0."""


def mixed(size: int, classes: int, smoothing: float = 0.0) -> Tensor:
    """Targets: every other image is mixed of two classes, where there are two."""
    first, second = torch.arange(size) % classes, (torch.arange(size) + 1) % classes
    share = torch.where(torch.arange(size) % 2 == 0, 1.0, 0.7)[:, None]
    eye = torch.eye(classes)
    return (1 - smoothing) * (share * eye[first] + (1 - share) * eye[second]) + smoothing / classes


def pairs(labels: Tensor, teacher: Tensor) -> dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]:
    """Each loss of logits beside its literal version."""
    known, other = labels.tolist(), random(*teacher.shape, 3)
    targets = [mixed(*teacher.shape, smoothing) for smoothing in (0.0, 0.1)]
    parts = {
        f"uskd {place}, smoothing {smoothing}": (
            lambda x, place=place, y=y: self_distillation_losses(x, other, y)[place],
            lambda x, place=place, y=y: literal.self_distillation(x, other, y)[place],
        )
        for smoothing, y in zip((0.0, 0.1), targets, strict=True)
        for place in (0, 1)
    }
    return {
        "dkd": (
            lambda x: dkd_loss(x, teacher, labels, 1.0, 2.0, 3.0),
            lambda x: literal.dkd(x, teacher, known, 1.0, 2.0, 3.0),
        ),
        "dkd sharpened": (
            lambda x: dkd_loss(x, teacher, labels, 0.5, 8.0, 0.5),
            lambda x: literal.dkd(x, teacher, known, 0.5, 8.0, 0.5),
        ),
        "nkd": (
            lambda x: nkd_loss(x, teacher, labels, 1.5, 2.0),
            lambda x: literal.nkd(x, teacher, known, 1.5, 2.0),
        ),
        "ttm": (lambda x: ttm_loss(x, teacher, 0.2, False), lambda x: literal.ttm(x, teacher, 0.2, False)),
        "wttm": (lambda x: ttm_loss(x, teacher, 0.2, True), lambda x: literal.ttm(x, teacher, 0.2, True)),
        "confidence": (
            lambda x: confidence_loss(x, teacher, labels, 2.0),
            lambda x: literal.confidence(x, teacher, known, 2.0),
        ),
        "correlation": (
            lambda x: masked_correlation_loss(x, teacher, labels, 4.0),
            lambda x: literal.masked_correlation(x, teacher, known, 4.0),
        ),
        "dist": (
            lambda x: dist_loss(x, teacher, 2.0, 3.0, 2.0),
            lambda x: literal.dist(x, teacher, 2.0, 3.0, 2.0),
        ),
        **parts,
    }


@pytest.mark.parametrize("given", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_losses_of_logits_are_their_formulas(shape: tuple[int, int], given: str) -> None:
    teacher, labels = KINDS[given](random(*shape, 1)), torch.arange(shape[0]) % shape[1]
    for kind, made in KINDS.items():
        student = made(random(*shape, 2))
        for name, (loss, exact) in pairs(labels, teacher).items():
            off = literal.disagreement(loss, exact, student)
            assert off < 1e-5, f"{name} of {kind} logits: {off:.1e}"


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (6, 4), (9, 1)])
def test_losses_of_features_are_their_formulas(shape: tuple[int, int]) -> None:
    teacher = random(*shape, 1)
    dead = teacher * (torch.arange(shape[1]) > 0)
    for student in (random(*shape, 2), random(*shape, 2) + 1000, torch.zeros(shape)):
        for target in (teacher, dead, 1e-3 * teacher, torch.ones(shape)):
            for loss, exact in (
                (lambda x, z=target: redundancy_loss(x, z, 0.01), lambda x, z=target: literal.redundancy(x, z, 0.01)),
                (
                    lambda x, z=target: normalised_feature_loss(x, z),
                    lambda x, z=target: literal.normalised_feature(x, z),
                ),
            ):
                assert literal.disagreement(loss, exact, student) < 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_standardised_logits_are_z_scores(shape: tuple[int, int]) -> None:
    teacher = literal.torch.tensor(
        [[x.item() for x in literal.z_scores(row)] for row in literal.rows(random(*shape, 1))]
    )
    weights = random(*shape, 5)
    for student in (random(*shape, 2), 1e4 * random(*shape, 2), torch.zeros(shape), torch.full(shape, 7.3)):
        off = literal.disagreement(
            lambda x: (standardise(x) * weights).sum(),
            lambda x: sum(z * w for a, b in zip(literal.rows(x), literal.rows(weights), strict=True)
                          for z, w in zip(literal.z_scores(a), b, strict=True)),
            student,
        )  # fmt: skip
        assert off < 1e-5
    torch.testing.assert_close(standardise(random(*shape, 1)), teacher.float(), rtol=1e-4, atol=1e-5)


def test_standardising_makes_kd_blind_to_size_and_shift() -> None:
    student, teacher = standardise(random(4, 6, 1)), random(4, 6, 2)
    known = kd_loss(student, standardise(teacher), 2.0)
    torch.testing.assert_close(kd_loss(student, standardise(5 * teacher - 3), 2.0), known)
    assert not torch.isclose(kd_loss(student, 5 * teacher - 3, 2.0), known)


@pytest.mark.parametrize("sharpness", [1.0, 8.0, 60.0])
def test_dist_counts_every_class_of_a_sharp_teacher(sharpness: float) -> None:
    """1,000 classes: most columns of probabilities are tiny, and of a sharp teacher below what float32 has."""

    def exact(x: Tensor) -> Tensor:
        log_p = [(y.double() / 1.0).log_softmax(1) for y in (x, teacher)]
        total = torch.zeros((), dtype=torch.float64)
        for d in (1, 0):
            a, b = ((y - y.detach().amax(d, keepdim=True)).exp() for y in log_p)
            a, b = (y - y.mean(d, keepdim=True) for y in (a, b))
            total = total + 1 - ((a * b).sum(d) / (a.norm(dim=d) * b.norm(dim=d))).mean()
        return total

    teacher = random(32, 1000, 1) / 3 * sharpness
    student = random(32, 1000, 2) / 3
    assert literal.disagreement(lambda x: dist_loss(x, teacher, 1.0, 1.0, 1.0), exact, student) < 1e-5
    small = literal.disagreement(lambda x: dist_loss(x, teacher, 1.0, 1.0, 1.0), exact, 1e-4 * student)
    assert small < 1e-2, "a student just after a classifier of zeros"


def test_what_hardly_varies_gives_no_gradient() -> None:
    """A thousand equal probabilities are not quite their mean."""
    for size, value in ((1000, 1e-3), (77, 0.3), (77, 12345.678), (3, 1 / 3)):
        flat = torch.full((2, size), value, requires_grad=True)
        z = standardise(flat)
        (gradient,) = torch.autograd.grad((z * random(2, size, 1)).sum(), flat)
        assert z.abs().max() == 0 and gradient.abs().max() == 0
    hardly = 1 + 1e-4 * random(2, 50, 1)
    assert standardise(hardly).std() == pytest.approx(1, abs=0.02)


def test_newer_losses_by_hand() -> None:
    """Two classes but the target, of which the teacher gives one 2 : 1 and the student none."""
    student, teacher = torch.zeros(1, 3), torch.tensor([[math.log(3.0), math.log(2.0), 0.0]])
    labels = torch.tensor([0])
    assert nkd_loss(student, teacher, labels, 0.0, 1.0).item() == pytest.approx(0.5 * math.log(3))
    assert nkd_loss(student, teacher, labels, 1.5, 1.0).item() == pytest.approx(0.5 * math.log(3) + 1.5 * math.log(2))
    # the square roots of 1/2, 1/3 and 1/6, which sum to w
    roots = [math.sqrt(p) for p in (1 / 2, 1 / 3, 1 / 6)]
    w = sum(roots)
    apart = sum(r / w * math.log(3 * r / w) for r in roots)
    assert ttm_loss(student, teacher, 0.5, False).item() == pytest.approx(apart, rel=1e-5)
    assert ttm_loss(student, teacher, 0.5, True).item() == pytest.approx(w * apart, rel=1e-5)
    sure = 0.5 * math.log(0.5 / (1 / 3)) + 0.5 * math.log(0.5 / (2 / 3))
    for label in (0, 1, 2):  # how sure the student is of any class is the same here
        assert confidence_loss(student, teacher, torch.tensor([label]), 1.0).item() == pytest.approx(sure, rel=1e-5)
    below = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    assert masked_correlation_loss(student, teacher, labels, 1.0).item() == pytest.approx(below, rel=1e-5)
    for label in (1, 2):  # one class is left, then none
        assert masked_correlation_loss(student, teacher, torch.tensor([label]), 1.0).item() == 0
    assert masked_correlation_loss(student, torch.zeros(1, 3), labels, 1.0).item() == 0


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_an_image_of_which_no_class_is_left_makes_no_nan_on_the_way() -> None:
    student, teacher = random(2, 3, 1).requires_grad_(), torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    with torch.autograd.detect_anomaly():
        masked_correlation_loss(student, teacher, torch.tensor([2, 2]), 1.0).backward()
    assert student.grad is not None and student.grad[0].abs().max() == 0 and student.grad[1, :2].abs().min() > 0


def test_soft_labels_of_oneself_by_hand() -> None:
    """Two images: of the first class with 1/2 and of the second with 1/4; Zipf's law over two others is 2 : 1."""
    student = torch.tensor([[math.log(2.0), 0.0, 0.0], [math.log(2.0), 0.0, 0.0]])
    weak = torch.tensor([[0.0, 0.0, 5.0], [9.0, 0.0, 0.0]])
    own, others, of_weak = self_distillation_losses(student, weak, torch.eye(3)[:2])
    mean = (0.25 + 0.0625) / 2
    expected = (0.25 + 1 - mean) * math.log(2) + (0.0625 + 1 - mean) * math.log(4)
    assert own.item() == pytest.approx(expected / 2, rel=1e-5)
    # first image: both others alike, either order; second: class 0 leads among {0, 2} with 2/3, and 1/3 for class 2
    second = 2 / 3 * math.log(1.5) + 1 / 3 * math.log(3)
    assert others.item() == pytest.approx((math.log(2) + second) / 2, rel=1e-5)
    log_w = weak.log_softmax(1)
    smooth = 0.9 * torch.eye(3)[:2] + 0.1 / 3
    assert of_weak.item() == pytest.approx(-(smooth * log_w).sum(1).mean().item(), rel=1e-5)


def test_the_weak_classifier_decides_where_the_student_does_not() -> None:
    """The soft labels follow the sum of both; no gradient goes through the ranks."""
    student, targets = torch.zeros(1, 4, requires_grad=True), torch.eye(4)[:1]
    for first in (1, 2, 3):
        weak = torch.full((1, 4), -1.0).scatter(1, torch.tensor([[first]]), 1.0).requires_grad_()
        others = self_distillation_losses(student, weak, targets)[1]
        (gradient,) = torch.autograd.grad(others, student)
        assert gradient[0, 1:].argmin() == first - 1 and gradient[0, 0] == 0
        with pytest.raises(RuntimeError, match="not have been used|does not require grad"):
            torch.autograd.grad(self_distillation_losses(student, weak, targets)[1], weak)


def test_redundancy_by_hand() -> None:
    """Two features over four images that do not go together: 1 and 1 on the diagonal; swapped 0 and 0, and 1 beside."""
    z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert redundancy_loss(3 * z + 1, z, 0.5).item() == pytest.approx(0, abs=1e-6)
    assert redundancy_loss(z.flip(1), z, 0.5).item() == pytest.approx(2 + 0.5 * 2)
    assert redundancy_loss(-z, z, 0.5).item() == pytest.approx(8)
    assert redundancy_loss(z * torch.tensor([1.0, 0.0]), z, 0.5).item() == pytest.approx(1)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_newer_losses_are_float32_and_finite_on_halves(kind: torch.dtype) -> None:
    labels = torch.arange(4)
    for teacher in (random(4, 5, 1), 300 * random(4, 5, 1)):
        student = random(4, 5, 2).to(kind).requires_grad_()
        losses = {name: loss(student) for name, (loss, _) in pairs(labels, teacher.to(kind)).items()}
        losses["rsd"] = redundancy_loss(student, teacher.to(kind), 0.01)
        losses["vkd"] = normalised_feature_loss(student, teacher.to(kind))
        losses["standardised"] = kd_loss(standardise(student), standardise(teacher.to(kind)), 2.0)
        for name, loss in losses.items():
            (gradient,) = torch.autograd.grad(loss, student)
            assert loss.dtype == torch.float32 and torch.isfinite(loss) and torch.isfinite(gradient).all(), name

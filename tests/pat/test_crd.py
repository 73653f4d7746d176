"""CRD's memory: what it holds, whom it compares, that its draws are functions of seed, step and image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pat.config import ConfigError
from pat.counter import hash64
from pat.losses import cross_entropy, nce_loss
from pat.methods import Method, create_method
from pat.methods.crd import _Others
from pat.models import create_model
from tests import tiny

LABELS = torch.arange(30) % 7 % 4


def build(seed: int = 0, **options: object) -> Method:
    torch.manual_seed(0)
    models = (create_model(name, 10, 32) for name in (tiny.MLP, tiny.CNN))
    return create_method("crd", *models, tiny.task(32, LABELS), seed, **{"negatives": 50, "dim": 8, **options})


def batch(*indices: int) -> tuple[Tensor, Tensor, Tensor]:
    chosen = torch.tensor(indices)
    images = torch.randn(30, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return images[chosen], torch.eye(10)[LABELS[chosen]], chosen


def test_negatives_are_of_other_classes_and_all_of_them() -> None:
    others = _Others(LABELS)
    indices = torch.arange(30)
    drawn = others(indices, hash64(3, indices[:, None], torch.arange(2000)))
    for index in range(30):
        found = drawn[index].unique()
        assert torch.equal(found, torch.nonzero(LABELS != LABELS[index]).flatten())
        counts = torch.bincount(drawn[index], minlength=30)[found].float()
        assert counts.std() / counts.mean() < 4 * (len(found) / 2000) ** 0.5


def test_the_loss_is_the_paper_s_contrast() -> None:
    """One step by hand: rows of the memories as they were at the start, one anchor after the other."""
    method = build(momentum=0.8)
    images, targets, indices = batch(3, 8, 21)
    memory_student, memory_teacher = method.memory_student.clone(), method.memory_teacher.clone()
    losses = method(images, targets, indices)
    with torch.no_grad():
        logits, student = method.student_embedding(images)
        _, teacher = method.teacher_embedding(method.for_teacher(images))
        anchors = F.normalize(method.embed_student(student), dim=1), F.normalize(method.embed_teacher(teacher), dim=1)
        random = hash64(method.key, 0, indices[:, None], torch.arange(50))
        compared = torch.cat([indices[:, None], method.others(indices, random)], dim=1)
        total = cross_entropy(logits, targets)
        for side, memory in zip(anchors, (memory_teacher, memory_student), strict=True):
            scores = torch.stack([(memory[row] @ v / 0.07).exp() for row, v in zip(compared, side, strict=True)])
            total += nce_loss(scores / (scores.mean() * 30), 30)
    torch.testing.assert_close(losses["loss"], total, rtol=1e-5, atol=1e-5)
    expected = F.normalize(0.8 * memory_student[indices] + 0.2 * anchors[0], dim=1)
    torch.testing.assert_close(method.memory_student[indices], expected, rtol=1e-5, atol=1e-6)
    untouched = torch.ones(30, dtype=torch.bool).index_fill(0, indices, False)
    assert torch.equal(method.memory_student[untouched], memory_student[untouched])


def test_draws_change_with_step_and_seed_and_are_repeatable() -> None:
    def totals(seed: int) -> list[float]:
        method = build(seed)
        return [method(*batch(1, 2, 3))["crd"].item() for _ in range(3)]

    assert totals(0) == totals(0) != totals(1)
    method = build()
    frozen = {key: value.clone() for key, value in method.state_dict().items()}
    first = method(*batch(1, 2, 3))["crd"]
    same, later = build(5), build(5)
    same.load_state_dict(frozen)
    later.load_state_dict({**frozen, "step": torch.tensor(1), "scale": method.scale})
    assert torch.equal(same(*batch(1, 2, 3))["crd"], first)
    assert not torch.equal(later(*batch(1, 2, 3))["crd"], first)


def test_what_it_needs() -> None:
    with pytest.raises(ConfigError, match="'crd': needs the labels"):
        create_method("crd", create_model(tiny.MLP, 10, 32), create_model(tiny.CNN, 10, 32), tiny.task(32))
    images, targets, _ = batch(1, 2)
    with pytest.raises(ConfigError, match="needs the indices"):
        build()(images, targets)

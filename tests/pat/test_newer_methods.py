"""What is peculiar to RSD, NKD, WTTM, RLD, VkD and USKD, and to standardised logits, beyond the contract of all."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pat.losses import (
    confidence_loss,
    dkd_loss,
    kd_loss,
    masked_correlation_loss,
    nkd_loss,
    standardise,
    ttm_loss,
)
from pat.methods import create_method
from tests import tiny
from tests.pat.test_methods import TASK, batch, build


def logits_of(method: Any, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the student, whose normalisation then has the batch's statistics each time, and of the teacher."""
    seen = method.see(images, None)
    return seen.logits, method.told(images, seen).logits


@pytest.mark.parametrize("name", ["kd", "dkd", "nkd"])
def test_logits_are_standardised_on_request(name: str) -> None:
    images, targets = batch()
    plain = build(name, tiny.VIT, tiny.CNN)
    standardised = create_method(name, plain.student, plain.teacher, TASK, standardise=True)
    student, teacher = map(standardise, logits_of(plain, images))
    labels = targets.argmax(1)
    expected = {
        "kd": lambda: kd_loss(student, teacher, 1.0),
        "dkd": lambda: dkd_loss(student, teacher, labels, 1.0, 2.0, 1.0),
        "nkd": lambda: nkd_loss(student, teacher, labels, 1.5, 1.0),
    }
    torch.testing.assert_close(standardised(images, targets)[name], expected[name]().detach())
    assert not torch.isclose(plain(images, targets)[name], expected[name]())


def test_ttm_is_wttm_without_weights() -> None:
    images, targets = batch()
    for weighted in (True, False):
        method = build("wttm", tiny.VIT, tiny.CNN, weighted=weighted, gamma=0.7)
        found = method(images, targets)["wttm"]
        torch.testing.assert_close(found, ttm_loss(*logits_of(method, images), 0.7, weighted).detach())


def test_rld_warms_up_where_the_loop_tells_the_epoch() -> None:
    images, targets = batch()
    method = build("rld", tiny.VIT, tiny.CNN, warmup_epochs=4, temperature=3.0, confidence_temperature=2.0)
    logits, labels = logits_of(method, images), targets.argmax(1)
    whole = confidence_loss(*logits, labels, 2.0), masked_correlation_loss(*logits, labels, 3.0)
    for epoch, share in ((None, 1.0), (0, 0.25), (2, 0.75), (3, 1.0), (9, 1.0)):
        if epoch is not None:
            method.begin_epoch(epoch)
        losses = method(images, targets)
        for name, loss in zip(("confidence", "correlation"), whole, strict=True):
            torch.testing.assert_close(losses[name], share * loss.detach())


@pytest.mark.parametrize(("student", "teacher"), [("vit_micro_patch8_32", tiny.CNN), (tiny.CNN, "vit_micro_patch8_32")])
def test_the_projection_of_vkd_stays_orthogonal(student: str, teacher: str) -> None:
    """Wider or narrower than what it projects, after steps with much weight decay, and under autocast."""
    method, (images, targets) = build("vkd", student, teacher), batch()
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.05, weight_decay=1.0)
    before, projected = method.project.weight.detach().clone(), list[torch.Tensor]()
    method.project.register_forward_hook(lambda module, given, found: projected.append(found))
    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            loss = method(images, targets)["feature"] + method(images, targets)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weight = method.project.weight.detach()
    short = weight if weight.shape[0] <= weight.shape[1] else weight.T
    torch.testing.assert_close(short @ short.T, torch.eye(len(short)), rtol=0, atol=1e-5)
    assert not torch.allclose(weight, before, atol=1e-3) and projected[0].dtype == torch.float32


@pytest.mark.parametrize("student", [tiny.VIT, tiny.CNN])
def test_the_embedding_that_rsd_compares_is_projected(student: str) -> None:
    """Twice as wide within, and no student's features are the loss's own: a student that is frozen can still fit."""
    method, (images, targets) = build("rsd", student, "vit_micro_patch8_32"), batch()
    assert [tuple(p.shape) for p in method.decouple.parameters() if p.ndim == 2] == [
        (2 * method.student_embedding.dim, method.student_embedding.dim),
        (method.teacher_embedding.dim, 2 * method.student_embedding.dim),
    ]
    method.student.requires_grad_(False)
    optimizer = torch.optim.AdamW(method.decouple.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        losses.append(method(images, targets)["loss"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_uskd_takes_its_weak_logits_from_the_last_stage_but_one() -> None:
    method, (images, targets) = build("uskd", tiny.VIT, ""), batch()
    assert method.teacher is None and method.weak.in_features == method.taps.stages[-2].channels
    seen: list[torch.Tensor] = []
    method.weak.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    method(images, targets)
    torch.testing.assert_close(seen[0], method.taps(images).maps[-2].mean((2, 3)))

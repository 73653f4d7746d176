"""Hints of PAT: for the student's own maps, on the coarser grid, of the plain teacher."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from tests.pat.test_pat import batch, build
from tests.pat.test_pat_remedies import strengthened


@pytest.mark.parametrize("teacher", [tiny.CNN, tiny.VIT])
@pytest.mark.parametrize("student", [tiny.CNN, tiny.VIT])
def test_hints_are_for_the_student_s_own_maps_on_the_coarser_grid(student: str, teacher: str) -> None:
    """Place by place, in float64, against the plain maps, over their variance; everything else is as without them."""
    method = strengthened(build(student, teacher, hint_weight=3.0, feedback="none"))
    images, targets = batch()
    losses = method(images, targets)
    found = method.student_taps(images).maps
    clean = method.teacher_taps(method.for_teacher(images))
    shares = []
    for project, own, like in zip(method.hints.project, found, clean.maps, strict=True):
        sides = min(own.shape[-1], like.shape[-1])
        pools = [x.double().reshape(*x.shape[:2], sides, x.shape[-1] // sides, sides, -1).mean((3, 5)) for x in (
            project(own), like
        )]  # fmt: skip
        spread = (like.double() - like.double().mean((0, 2, 3), keepdim=True)).square().mean()
        shares.append((pools[0] - pools[1]).square().mean() / spread)
    torch.testing.assert_close(losses["hint"].double(), torch.stack(shares).mean().detach(), rtol=1e-5, atol=0)
    parts = ("ce", "kd", "feature", "regularisation")
    total = sum(losses[part] for part in parts) + 3.0 * losses["hint"]
    torch.testing.assert_close(losses["loss"].detach(), total)
    losses["loss"].backward()
    assert all(weight.grad is not None for project in method.hints.project for weight in project.parameters())


def test_prompts_learn_nothing_from_hints() -> None:
    """They would give the target up for an easier one."""
    weights = {"feature_weight": 0.0, "regularisation_weight": 0.0}
    method = strengthened(build(hint_weight=3.0, **weights))
    method(*batch())["loss"].backward()
    assert not any(p.grad is not None and p.grad.any() for p in method.prompts.parameters())


def test_without_a_weight_there_are_no_hints() -> None:
    method = build()
    assert method.hints is None and "hint" not in method(*batch())
    assert not [name for name in method.state_dict() if name.startswith("hints")]

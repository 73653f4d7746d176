"""SoKD: its bases to the bit, who learns from what, the end of the search, its parts by hand."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pat.areas import area_mask
from pat.config import ConfigError
from pat.counter import hash64
from pat.io import CHECKPOINT
from pat.losses import area_loss, hint_loss
from pat.methods import create_method
from pat.models import create_model
from tests import tiny

BASE_OPTIONS: dict[str, dict[str, Any]] = {"fitnet": {}, "reviewkd": {"warmup_epochs": 0}}
OFF = {"augment": False, "area_weight": 0.0, "head_weight": 0.0}
DIAGNOSTICS = {"policy_entropy", "target_shift", "heat_variance"}


def build(name: str = "sokd", size: Any = 32, student: str = tiny.BATCHNORM, teacher: str = "", **options: Any) -> Any:
    torch.manual_seed(0)
    models = create_model(student, 10, size), create_model(teacher or tiny.VIT, 10, size)
    small = {"head_dim": 8} if name == "sokd" else {}
    return create_method(name, *models, tiny.task(size, torch.arange(24) % 10), **{**small, **options})


def batch(size: tuple[int, int] = (32, 32), images: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(images, 3, *size, generator=generator), torch.eye(10)[:images], torch.arange(images)


def gradients(method: Any, loss: Tensor) -> dict[str, Tensor]:
    method.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("base", BASE_OPTIONS)
def test_with_everything_off_it_is_its_base_to_the_bit(base: str) -> None:
    """And with a policy that applies nothing."""
    plain = build(base, **BASE_OPTIONS[base])
    off, idle = build(base=base, **OFF), build(base=base, **{**OFF, "augment": True})
    torch.nn.init.constant_(idle.policy.probability, -math.inf)
    assert len(off.heads) == 0 and off.policy is None and off.groups() == ()
    expected = plain(*batch())
    wanted = gradients(plain, expected["loss"])
    for method in (off, idle):
        losses = method(*batch())
        assert torch.equal(losses["hint"], expected["hint"]) and torch.equal(losses["output"], expected["output"])
        found = gradients(method, losses["loss"])
        assert all(torch.equal(found[key], value) for key, value in wanted.items())
        assert found.keys() - wanted.keys() == (
            {f"policy.{n}" for n, _ in idle.policy.named_parameters()} if method is idle else set()
        )
    assert torch.equal(off(*batch())["loss"], plain(*batch())["loss"])


@pytest.mark.parametrize("base", BASE_OPTIONS)
def test_the_policy_and_the_rest_do_not_teach_each_other(base: str) -> None:
    """The student's gradients are those without L_aug, to the bit; the policy's are those of L_aug alone."""
    for step in range(6):
        method = build(base=base, kd_weight=1.0)
        method.clock.step.fill_(step)
        own = {name for name, _ in method.named_parameters() if name.startswith("policy.")}
        whole = gradients(method, method(*batch())["loss"])
        without = build(base=base, kd_weight=1.0)
        without.clock.step.fill_(step)
        without.policy.requires_grad_(False)
        rest = gradients(without, without(*batch())["loss"])
        assert whole.keys() - rest.keys() == own and not rest.keys() & own
        assert all(torch.equal(whole[key], value) for key, value in rest.items())
        light = build(base=base, kd_weight=0.0, weight=0.0, area_weight=0.0, head_weight=0.0)
        light.clock.step.fill_(step)
        alone = gradients(light, light(*batch())["loss"])
        assert all(torch.equal(whole[key], alone[key]) for key in own)
        assert whole["policy.choice"].any() and whole["policy.probability"].any()


def test_the_parts_by_hand() -> None:
    """Of a ViT's maps taught by a CNN's, the last two of four, in the third step."""
    method = build(student=tiny.VIT, teacher=tiny.CNN, areas=3)
    method.clock.step.fill_(2)
    images, targets, indices = batch()
    indices = indices + 10
    losses = copy.deepcopy(method)(images, targets, indices)
    own = method.student_taps(images)
    plain = method.teacher_taps(method.for_teacher(images)).maps
    aligned = method.align(own.maps, plain)
    changed = method.policy(plain[2:], hash64(method.key, 2), indices)
    targets_now = [*plain[:2], *changed]
    torch.testing.assert_close(losses["hint"], sum(map(hint_loss, aligned, targets_now)).detach())
    torch.testing.assert_close(losses["policy"], sum(map(hint_loss, aligned[2:], changed)).detach() / 2)
    shift = [(x - y).flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1) for x, y in zip(changed, plain[2:], strict=True)]
    torch.testing.assert_close(losses["target_shift"], torch.stack(shift).mean().detach())
    assert losses["target_shift"] > 0 and losses["policy_entropy"].item() == pytest.approx(math.log(36))
    area = area_of_student = heads = variance = 0.0
    for head, student, teacher in zip(method.heads, aligned[2:], changed, strict=True):
        one, other = head(student), head(teacher)
        heat, size = (one.heat + other.heat) / 2, (one.size + other.size) / 2
        mask = area_mask(type(one)(heat, size, (one.offset + other.offset) / 2), 3)
        area += area_loss(student, teacher, mask).item()
        area_of_student += area_loss(student, teacher, area_mask(one, 3)).item()
        heads += hint_loss(one.stacked(), other.stacked()).item()
        variance += sum(x.heat.var((2, 3), correction=0).mean().item() for x in (one, other)) / 4
    assert losses["area"].item() == pytest.approx(area, rel=1e-5)
    assert losses["heads"].item() == pytest.approx(heads, rel=1e-5)
    assert losses["heat_variance"].item() == pytest.approx(variance, rel=1e-4)
    students = build(student=tiny.VIT, teacher=tiny.CNN, areas=3, mask="student")
    students.clock.step.fill_(2)
    found = students(images, targets, indices)
    assert found["heads"] == losses["heads"] and found["area"].item() == pytest.approx(area_of_student, rel=1e-5)
    assert area_of_student != pytest.approx(area, rel=1e-3)


@pytest.mark.parametrize("base", BASE_OPTIONS)
def test_maps_that_are_not_square(base: str) -> None:
    method = build(size=(32, 64), base=base, student=tiny.BATCHNORM, teacher=tiny.BATCHNORM)
    losses = method(*batch((32, 64)))
    assert all(torch.isfinite(value).all() for value in losses.values())
    found = gradients(method, losses["loss"])
    trained = {name for name, p in method.named_parameters() if p.requires_grad}
    assert found.keys() == trained and all(torch.isfinite(value).all() for value in found.values())


def test_a_step_is_a_function_of_seed_step_and_images() -> None:
    images, targets, indices = batch()

    def shifts(method: Any, order: Tensor) -> list[float]:
        return [method(images[order], targets[order], indices[order])["target_shift"].item() for _ in range(8)]

    order = torch.tensor([3, 1, 5, 0, 2, 4])
    first = shifts(build(), indices)
    assert first == shifts(build(), indices) and len(set(first)) > 3
    assert first == pytest.approx(shifts(build(), order), rel=1e-4)
    other = build()
    other.key += 1
    assert first != pytest.approx(shifts(other, indices), rel=1e-4)
    asleep = build().eval()
    assert len({asleep(images, targets)["target_shift"].item() for _ in range(3)}) == 1
    assert asleep.clock.step == 0, "a forward in eval mode changes no state"


@pytest.mark.parametrize("base", BASE_OPTIONS)
def test_the_policy_is_searched_then_frozen_and_resumed(base: str, tmp_path: Path, teacher_file: Path) -> None:
    """Interrupted in the middle of the search and after it: the bits of one go."""
    options = {"head_dim": 8, "base": base, "search_epochs": 2}
    config = tiny.config(tiny.VIT, "sokd", epochs=4, options=options, recipe={"clip_grad": 1.0})
    whole = tiny.run(config, tmp_path / "whole", teacher_file)
    policies = []
    for until in (1, 2, 3, 4):
        part = tiny.run(config, tmp_path / "parts", teacher_file, until=until)
        state = torch.load(tmp_path / "parts" / CHECKPOINT, weights_only=True)
        policies.append({key: value for key, value in state["method"].items() if key.startswith("policy.")})
    assert part.student_sha256 == whole.student_sha256
    for one, other in zip(part.history, whole.history, strict=True):
        np.testing.assert_equal({**one, "seconds": 0}, {**other, "seconds": 0})
        assert one["parts"].keys() >= DIAGNOSTICS | {"policy", "hint", "area", "heads", "ce"}
    assert len(policies[0]) == 3
    moved = [any(not torch.equal(a[key], b[key]) for key in a) for a, b in zip(policies, policies[1:], strict=False)]
    assert moved == [True, False, False]
    assert policies[0]["policy.choice"].abs().max() <= 6 * 3e-4 * 1.01, "six steps of Adam at 3e-4"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base": "at"}, "base = 'at': one of fitnet, reviewkd"),
        ({"mask": "teacher"}, "mask = 'teacher': one of both, student"),
        ({"stages": 5}, "stages = 5, areas = 8, head_dim = 8, search_epochs = 50: 1 to 4 stages, positive numbers"),
        ({"areas": 0}, "areas = 0"),
        ({"search_epochs": -1}, "search_epochs = -1"),
    ],
)
def test_bad_options_are_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"^method 'sokd': .*{words}") as caught:
        build(**options)
    assert "\n" not in str(caught.value)

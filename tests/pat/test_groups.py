"""Modules of a method that learn otherwise than the recipe says: rates, optimisers of their own, their end."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from timm.optim import param_groups_weight_decay

from pat.data import load
from pat.groups import Adam, Group, parameter_groups
from pat.io import LocalIO
from pat.methods import create_method
from pat.methods.fitnet import FitNet
from pat.models import create_model
from pat.steps import train_step
from pat.training import Training
from tests import tiny
from tests.pat.test_methods import TASK

SCALED = (Group("align.0", lr_scale=0.25),)
OWN = (Group("align.0", own=Adam(lr=0.01, weight_decay=0.5, betas=(0.5, 0.9), epochs=2)),)


def fitnet() -> FitNet:
    models = (create_model(name, 10, 32) for name in (tiny.BATCHNORM, tiny.VIT))
    method = create_method("fitnet", *models, TASK)
    assert isinstance(method, FitNet)
    return method


def training(
    groups: Sequence[Group], folder: Path, teacher: Path, patch: pytest.MonkeyPatch, **recipe: object
) -> Training:
    """Of three epochs of six steps."""
    patch.setattr(FitNet, "groups", lambda _: groups)
    config = tiny.config(tiny.BATCHNORM, "fitnet", epochs=3, recipe={"ema_decay": 0.0, **recipe})
    return Training(config, LocalIO(folder), load(config.data, folder), teacher, None)


def test_without_groups_they_are_timm_s() -> None:
    method = fitnet()
    found, timms = parameter_groups(method, (), 0.1), param_groups_weight_decay(method, 0.1)
    assert [(group["weight_decay"], [*map(id, group["params"])]) for group in found] == [
        (group["weight_decay"], [*map(id, group["params"])]) for group in timms
    ]
    assert method.groups() == ()


def test_every_parameter_is_in_one_group() -> None:
    method = fitnet()
    first = {id(p) for p in method.align[0].parameters()}
    trained = [id(p) for p in method.parameters() if p.requires_grad]
    for groups, left_out in ((SCALED, set()), (OWN, first)):
        found = parameter_groups(method, groups, 0.1)
        members = [id(p) for group in found for p in group["params"]]
        assert len(members) == len(set(members)) and set(members) == set(trained) - left_out
        for group in found:
            apart = {id(p) for p in group["params"]} & first
            assert group.get("lr_scale", 1.0) == (0.25 if apart else 1.0)
            assert not apart or len(apart) == len(group["params"])
            assert all((p.ndim > 1) == (group["weight_decay"] == 0.1) for p in group["params"])


def test_a_scaled_rate_follows_the_schedule(
    tmp_path: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = training(SCALED, tmp_path, teacher_file, monkeypatch, warmup_epochs=1, warmup_lr=1e-4)
    for step in range(18):
        made.schedule.step_update(step)
        rates = [group["lr"] / group.get("lr_scale", 1.0) for group in made.optimizer.param_groups]
        assert rates == pytest.approx([rates[0]] * 4) and "lr_scale" not in made.optimizer.param_groups[0]
    assert not made.own_optimizers and len(made.clipped) == len(made.trainable)


def literal_adam(value: float, gradients: Sequence[float]) -> float:
    """Kingma and Ba 2015, algorithm 1, with the settings of OWN."""
    first = second = 0.0
    for t, gradient in enumerate(gradients, start=1):
        gradient += 0.5 * value
        first, second = 0.5 * first + 0.5 * gradient, 0.9 * second + 0.1 * gradient**2
        value -= 0.01 * first / (1 - 0.5**t) / (math.sqrt(second / (1 - 0.9**t)) + 1e-8)
    return value


def test_an_optimiser_of_its_own(tmp_path: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its steps are Adam's from the plain gradients, whatever is clipped; after two epochs of six steps it stands."""
    made = training(OWN, tmp_path, teacher_file, monkeypatch, clip_grad=1e-3)
    config = tiny.config(tiny.BATCHNORM, "fitnet", epochs=3, recipe={"ema_decay": 0.0, "clip_grad": 1e-3})
    bias = made.method.align[0].project.bias
    before, gradients, values = bias[0].item(), [], []
    images, targets = torch.randn(16, 3, 32, 32), torch.eye(10)[torch.arange(16) % 10]
    others = [p.detach().clone() for p in made.clipped]
    for step in range(14):
        train_step(made, config, images, targets, torch.arange(16), step)
        gradients.append(bias.grad[0].item())
        values.append(bias[0].item())
    for step in (0, 5, 11):
        assert values[step] == pytest.approx(literal_adam(before, gradients[: step + 1]), rel=1e-4)
    assert values[11] == values[12] == values[13] and gradients[13] != 0
    assert any(not torch.equal(p, old) for p, old in zip(made.clipped, others, strict=True))
    total = torch.stack([p.grad.norm() for p in made.clipped if p.grad is not None]).norm()
    assert total.item() == pytest.approx(1e-3, rel=1e-3)
    apart = torch.stack([p.grad.norm() for p in made.method.align[0].parameters()]).norm()
    assert apart > 1e-2, "those that learn apart are not in what is clipped"


def test_its_state_is_in_the_checkpoint(tmp_path: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny.config(tiny.BATCHNORM, "fitnet", epochs=3, recipe={"ema_decay": 0.0})
    images, targets = torch.randn(16, 3, 32, 32), torch.eye(10)[torch.arange(16) % 10]
    one = training(OWN, tmp_path, teacher_file, monkeypatch)
    for step in range(3):
        train_step(one, config, images, targets, torch.arange(16), step)
    two = training(OWN, tmp_path, teacher_file, monkeypatch)
    two.restore(copy.deepcopy(one.state(config)), config)
    for made in (one, two):
        train_step(made, config, images, targets, torch.arange(16), 3)
    states = (made.method.state_dict() for made in (one, two))
    assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))

"""The contract that every method keeps, between every two families."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from pat.config import ConfigError
from pat.methods import Task, create_method, list_methods, method_options
from pat.models import create_model, normalisation
from tests import tiny

TASK = Task(32, torch.arange(24) % 10)
PAIRS = list(itertools.product((tiny.BATCHNORM, tiny.VIT, tiny.MLP), (tiny.CNN, "vit_micro_patch8_32", tiny.MLP)))


def build(name: str, student: str, teacher: str) -> Any:
    models = create_model(student, 10, 32), None if name == "scratch" else create_model(teacher, 10, 32)
    return create_method(name, *models, TASK, **tiny.SMALL.get(name, {}))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, 32, 32, generator=generator), torch.eye(10)[torch.arange(8)]


@pytest.mark.parametrize(("student", "teacher"), PAIRS)
@pytest.mark.parametrize("name", list_methods())
def test_contract(name: str, student: str, teacher: str) -> None:
    """Finite, falls on a fixed batch, leaves the teacher alone, its state round-trips, bf16 works."""
    method = build(name, student, teacher)
    frozen = {k: v.clone() for k, v in method.teacher.state_dict().items()} if method.teacher else {}
    trainable = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=2e-3)
    images, targets = batch()
    totals = []
    for _ in range(5):
        losses = method.train()(images, targets, torch.arange(8))
        assert losses["output"].shape == (8, 10) and losses["loss"].ndim == 0
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        totals.append(losses["loss"].item())
    assert all(torch.isfinite(torch.tensor(totals))) and totals[-1] < totals[0]
    assert all(torch.equal(v, frozen[k]) for k, v in (method.teacher.state_dict() if frozen else {}).items())
    assert all(p.grad is not None for p in trainable)
    other = build(name, student, teacher)
    other.load_state_dict(method.state_dict())
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in method.state_dict().items())
    with torch.autocast("cpu", torch.bfloat16):
        loss = method(images, targets, torch.arange(8))["loss"]
    loss.backward()
    assert torch.isfinite(loss) and loss.dtype == torch.float32


def test_options_are_checked() -> None:
    assert method_options("kd") == {"weight": 1.0, "temperature": 1.0}
    student, teacher = create_model(tiny.VIT, 10, 32), create_model(tiny.CNN, 10, 32)
    with pytest.raises(ConfigError, match="'temprature' of method 'kd'; did you mean temperature"):
        create_method("kd", student, teacher, TASK, temprature=4)
    with pytest.raises(ConfigError, match="unknown method 'kdd'; did you mean .*kd"):
        create_method("kdd", student, teacher, TASK)


def test_method_modules_have_a_generator_of_their_own() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build("pat", tiny.VIT, tiny.CNN)
    # Building drew the models' own random weights, and not one number more for the method.
    state = torch.get_rng_state()
    torch.manual_seed(5)
    create_model(tiny.VIT, 10, 32), create_model(tiny.CNN, 10, 32)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(expected, torch.rand(3))
    assert torch.equal(first.attention.to_q.weight, build("pat", tiny.VIT, tiny.CNN).attention.to_q.weight)


def test_the_teacher_sees_its_own_normalisation() -> None:
    """A student with ImageNet statistics under a Mixer made for mean and deviation 0.5."""
    student, teacher = create_model("resnet18", 10, 224), create_model("mixer_s32_224", 10, 224)
    assert normalisation(teacher) == ((0.5,) * 3, (0.5,) * 3) != normalisation(student)
    method = create_method("kd", student, teacher, Task(224))
    pixels = torch.rand(2, 3, 8, 8)
    mean, std = (torch.tensor(v)[:, None, None] for v in normalisation(student))
    torch.testing.assert_close(method.for_teacher((pixels - mean) / std), (pixels - 0.5) / 0.5)

"""A method as a module in somebody's own training loop: what it is given, what it must not do, what it refuses."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from pat.config import ConfigError
from pat.methods import create_method, list_methods
from pat.models import create_model
from tests import tiny
from tests.pat.test_methods import TASK, batch, build

METHODS = list_methods("classification")
INDICES = torch.arange(8)


def values(method: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


@pytest.mark.parametrize("name", METHODS)
def test_integer_labels_are_distributions_of_one_class(name: str) -> None:
    images, targets = batch()
    method = build(name, tiny.BATCHNORM, tiny.VIT)
    other = copy.deepcopy(method)
    losses, others = method(images, targets, INDICES), other(images, targets.argmax(1), INDICES)
    assert losses.keys() == others.keys()
    for part, value in losses.items():
        torch.testing.assert_close(others[part], value)


@pytest.mark.parametrize("name", METHODS)
def test_a_forward_in_eval_mode_changes_nothing(name: str) -> None:
    """A loss on validation images leaves no trace, before the first step and after one."""
    images, targets = batch()
    method = build(name, tiny.BATCHNORM, tiny.VIT)
    for _ in range(2):
        before = values(method)
        first = method.eval()(images, targets, INDICES)["loss"]
        assert torch.equal(method(images, targets, INDICES)["loss"], first)
        after = method.state_dict()
        assert before.keys() == after.keys() and all(torch.equal(value, after[key]) for key, value in before.items())
        method.train()(images.flip(0), targets.flip(0), INDICES.flip(0))


@pytest.mark.parametrize("name", METHODS)
def test_copies_are_methods_of_their_own(name: str) -> None:
    images, targets = batch()
    method = build(name, tiny.BATCHNORM, tiny.VIT)
    for other in (copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        assert torch.equal(
            method.eval()(images, targets, INDICES)["loss"], other.eval()(images, targets, INDICES)["loss"]
        )
        with torch.no_grad():
            for parameter in other.student.parameters():
                parameter.zero_()
        assert not torch.equal(method(images, targets, INDICES)["loss"], other(images, targets, INDICES)["loss"])


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_a_model_is_not_silently_replaced(role: str) -> None:
    method = build("fitnet", tiny.BATCHNORM, tiny.VIT)
    setattr(method, role, getattr(method, role))
    for other in (create_model(tiny.BATCHNORM, 10, 32), torch.compile(getattr(method, role)), None):
        with pytest.raises(ConfigError, match=f"method.{role}: it cannot be replaced.*method.{role}.compile()"):
            setattr(method, role, other)


def test_what_does_not_fit_is_one_line() -> None:
    images, targets = batch()
    student, wide = create_model(tiny.BATCHNORM, 10, 32), create_model(tiny.VIT, 100, 32)
    with pytest.raises(ConfigError, match="^teacher: it tells 100 classes apart, the task has 10$"):
        create_method("kd", student, wide, TASK)
    with pytest.raises(ConfigError, match="^student: it tells 100 classes apart, the task has 10$"):
        create_method("scratch", wide, None, TASK)
    for name in METHODS:
        method = build(name, tiny.BATCHNORM, tiny.VIT)
        with pytest.raises(ConfigError, match=r"^images \[8, 1, 32, 32\]: \[B, 3, H, W\] is needed$"):
            method(images[:, :1], targets, INDICES)
        with pytest.raises(ConfigError, match="in pixels: 40 x 32 and 32 x 32; they must be equal$"):
            method(torch.zeros(8, 3, 40, 32), targets, INDICES)
        with pytest.raises(ConfigError, match=r"^targets \[8, 11\]: the task has 10 classes$"):
            method(images, torch.zeros(8, 11), INDICES)

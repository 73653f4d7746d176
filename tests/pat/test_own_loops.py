"""A method as a module in somebody's own training loop: what it is given, what it must not do, what it refuses."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pat
from pat import testing
from pat.config import ConfigError
from pat.methods import Losses, Method, create_method, list_methods, register_method
from pat.models import create_model
from pat.tasks import Task
from tests import tiny
from tests.pat.test_methods import TASK, batch, build

METHODS = list_methods("classification")
INDICES = torch.arange(8)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("check", testing.CHECKS[1:], ids=lambda check: check.__name__)
def test_the_contract_of_methods(check: Callable[[testing.Case], None], name: str) -> None:
    """The first check stands for all pairs of families in `test_methods`."""
    check(testing.Case(name, options=tiny.SMALL.get(name, {})))


class _Broken(Method):
    """Each way to break the contract by its name."""

    tasks = ()
    couples_samples = False

    def __init__(self, student: nn.Module, teacher: nn.Module, task: Task, *, how: str = "") -> None:
        super().__init__(student, teacher, task)
        self.how, self.spare = how, nn.Parameter(torch.ones(1))
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets)
        extra = (seen.logits.mean(0) ** 2).sum() if self.how == "couples" else seen.logits.sum() * 0
        self.seen += self.how == "remembers"
        if self.how == "teaches":
            next(self.teacher.parameters()).data += 0.1  # type: ignore[union-attr]
        extra = extra + (0 if self.how == "idle" else 0 * self.spare.sum())
        return self.result(seen, targets, extra=(-1.0 if self.how == "couples" else 1.0, extra))


@pytest.mark.parametrize(
    ("how", "check", "words"),
    [
        ("teaches", testing.learns, "weights of the teacher have changed"),
        ("idle", testing.learns, r"no gradient for \['spare'\]"),
        ("remembers", testing.leaves_no_trace_in_eval, r"a forward in eval mode changes \['seen'\]"),
        ("couples", testing.couples_as_it_says, "it couples samples: say couples_samples = True"),
    ],
)
def test_a_broken_contract_is_named(
    how: str, check: Callable[[testing.Case], None], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pat.methods import base
    from pat.options import _declared

    monkeypatch.setattr(_Broken, "__module__", "somewhere.broken")
    monkeypatch.setattr(base, "_methods", dict(base._methods))
    monkeypatch.setitem(_declared, "method", dict(_declared["method"]))
    register_method(_Broken)
    testing.learns(testing.Case("broken"))
    with pytest.raises(AssertionError, match=words):
        check(testing.Case("broken", options={"how": how}))


def test_a_task_is_optional() -> None:
    """It is the student's own classification, at its own size or at the one that is given."""
    student, teacher = create_model(tiny.VIT, 10, 32), create_model(tiny.BATCHNORM, 10, 32)
    method = create_method("kd", student, teacher)
    assert method.task.canvas == (32, 32) and method.task.num_classes == 10
    assert create_method("kd", create_model(tiny.BATCHNORM, 10, 64), teacher, image_size=64).task.canvas == (64, 64)
    assert create_method("kd", create_model("vit_tiny_patch16_224", 10, 96), teacher).task.canvas == (96, 96)
    for given, words in (
        ({"task": TASK, "image_size": 32}, "^image_size = 32: the task says it already$"),
        ({"teacher": None}, "^teacher: method 'kd' takes one$"),
        ({"image_size": -1}, "^data.image_size = -1: a positive number"),
    ):
        with pytest.raises(ConfigError, match=words):
            create_method("kd", **{"student": student, "teacher": teacher, **given})
    with pytest.raises(ConfigError, match="^teacher: method 'scratch' takes none$"):
        create_method("scratch", student, teacher)
    with pytest.raises(ConfigError, match="^student: num_classes = None"):
        create_method("scratch", nn.Identity())


def test_the_package_s_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands, with smaller models and without the compiler, which `test_compile` has."""
    code = textwrap.dedent(str(pat.__doc__).partition("own:\n")[2].partition("`Method` and")[0])
    assert len(code.strip().splitlines()) <= 20
    for large, small in (("resnet18", tiny.BATCHNORM), ("vit_tiny_patch16_224", tiny.VIT), ("224", "32")):
        assert large in code
        code = code.replace(large, small)
    monkeypatch.setattr(torch, "compile", lambda module: module)
    loader = [(torch.randn(4, 3, 32, 32), torch.arange(4), torch.arange(4))] * 2
    names: dict[str, Any] = {"device": torch.device("cpu"), "loader": loader, "epochs": 2}
    exec(code, names)
    assert torch.isfinite(names["losses"]["loss"]) and not names["student"].training


def test_names_do_not_collide() -> None:
    assert pat.MethodBase is Method and pat.TaskBase is Task and pat.Method is not pat.MethodBase
    assert pat.losses.kd_loss is not None and pat.testing is testing and pat.StageTaps.__name__ == "StageTaps"


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

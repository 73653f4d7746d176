"""The contract of every task, on the smallest material; and that its checks see what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pat.config import Data, Recipe, Task
from pat.tasks import list_tasks
from pat.testing import TASK_CHECKS, TaskCase
from pat.testing import tasks as contract
from pat.views import Views
from tests import tiny
from tests.pat import dense_tasks as dense
from tests.pat import ink

SMALL = Recipe(**{**tiny.RECIPE, "batch_size": 4})


def case(name: str) -> TaskCase:
    if name in ("detection", "segmentation"):
        recipe = dense.RECIPE
        return TaskCase(
            Task(name, dense.OPTIONS[name]), dense.data(name), dense.root(), dense.STUDENT, dense.TEACHER, recipe
        )
    options = {"generation": {"cell": 8, "stride": 4}}.get(name, {})
    student = "convnext_nano_patch1_32" if name == "generation" else tiny.BATCHNORM
    return TaskCase(Task(name, options), Data("tiny", 32), Path("data"), student, recipe=SMALL)


@pytest.mark.parametrize("check", TASK_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", list_tasks())
def test_contract(name: str, check: Callable[[TaskCase], None]) -> None:
    check(case(name))


def unseeded(known: Any) -> Any:
    return lambda task, name, seed, *rest: task.build(name, task.num_classes, *rest)


def shaken(known: Any) -> Any:
    def views(*given: Any, **place: int) -> Iterator[Views]:
        for one in known(*given, **place):
            yield one._replace(images=one.images + torch.rand(()))

    return views


def detached(known: Any) -> Any:
    return lambda *given: {name: loss.detach().requires_grad_() for name, loss in known(*given).items()}


def parroted(known: Any) -> Any:
    return lambda *given, like=None, **more: like or known(*given, **more)


def fewer(known: Any) -> Any:
    return lambda *given: known(*given)[1:]


def of_eval_mode(known: Any) -> Any:
    return lambda task, model, *given: known(task, model.eval(), *given)


def beyond(known: Any) -> Any:
    return lambda *given: replace(known(*given), score=101.0)


def unchecked(known: Any) -> Any:
    return lambda *given: None


@pytest.mark.parametrize(
    ("name", "broken", "check"),
    [
        ("student", unseeded, contract.students_come_of_their_seed),
        ("views", shaken, contract.views_come_of_their_place),
        ("losses", detached, contract.a_batch_is_learnt_from),
        ("see", parroted, contract.a_teacher_judges_the_same_samples),
        ("levels", fewer, contract.shapes_are_known_before),
        ("score", of_eval_mode, contract.scores_change_nothing),
        ("score", beyond, contract.scores_change_nothing),
        ("check_batch", unchecked, contract.bad_input_is_refused),
    ],
)
def test_what_is_broken_is_seen(
    name: str, broken: Any, check: Callable[[TaskCase], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ink.Ink, name, broken(getattr(ink.Ink, name)))
    with pytest.raises(AssertionError):
        check(case("ink"))

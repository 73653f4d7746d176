"""Runs that are trained together: each becomes to the bit what it becomes alone, whoever is with it and however they
end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pat.training
from pat.config import ConfigError, RunConfig
from pat.data.base import _load_on
from pat.io import CHECKPOINT, LocalIO
from pat.lockstep import Batch, Walk, Wanted, lockstep
from pat.memory import Crowded, Measures
from pat.methods import list_methods
from pat.tasks.classification import Classification
from pat.train import Member, Outcome, train_together
from tests import tiny
from tests.pat.test_train import timeless

STUDENTS = (tiny.VIT, tiny.BATCHNORM, tiny.MLP, tiny.CNN)
METHODS = list_methods("classification")


def member(number: int, folder: Path, teacher_file: Path, **changes: Any) -> Member:
    """One of the runs of one seed that have one recipe: run `number` has its own method and student."""
    config = tiny.config(STUDENTS[number % 4], METHODS[number % len(METHODS)], epochs=2, recipe={"mixup": 0.2})
    file = None if config.teacher is None else teacher_file
    return Member(config, LocalIO(folder / config.run_id), teacher_file=file, **changes)


def same(one: Outcome, other: Outcome) -> None:
    assert one.student_sha256 == other.student_sha256 and one.test_correct == other.test_correct
    np.testing.assert_equal(timeless(one.history), timeless(other.history))
    np.testing.assert_equal((one.results, one.teacher_score), (other.results, other.teacher_score))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, teacher_file: Path) -> Callable[[RunConfig], Outcome]:
    """What a run becomes alone; each is trained once."""

    @cache
    def outcome(config: RunConfig) -> Outcome:
        file = None if config.teacher is None else teacher_file
        return tiny.run(config, tmp_path_factory.mktemp("alone"), file)

    return outcome


def together(members: Sequence[Member]) -> dict[str, Outcome | Exception]:
    """How each ended, by its run_id."""
    return {members[number].config.run_id: end for number, end in train_together(members)}


@pytest.mark.parametrize("order", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_every_method_in_any_grouping_is_as_alone(
    order: int, tmp_path: Path, teacher_file: Path, alone: Callable[[RunConfig], Outcome]
) -> None:
    """Some members have one epoch behind them, which the others make up first."""
    rng = random.Random(order)
    numbers = rng.sample(range(len(METHODS)), len(METHODS))
    while numbers:
        size = rng.choice((2, 3, 5, 8))
        group, numbers = numbers[:size], numbers[size:]
        for number in group:
            if rng.random() < 0.3:
                together([member(number, tmp_path, teacher_file, until=1)])
        members = [member(number, tmp_path, teacher_file) for number in group]
        for run_id, end in together(members).items():
            assert isinstance(end, Outcome), end
            same(end, alone(next(m.config for m in members if m.config.run_id == run_id)))


def test_what_is_common_is_done_once(
    tmp_path: Path, teacher_file: Path, alone: Callable[[RunConfig], Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views: once for all. The teacher: once a batch from the second one on, whatever is asked of it; scored once."""
    views, passes = list[int](), list[int]()
    made, built = Classification.views, pat.training.load_teacher

    def counted(*given: Any, **named: Any) -> Iterator[Any]:
        for one in made(*given, **named):
            views.append(1)
            yield one

    def load(*given: Any) -> tuple[torch.nn.Module, str]:
        teacher, digest = built(*given)
        teacher.register_forward_hook(lambda module, images, output: passes.append(len(images[0])))
        return teacher, digest

    names = ("scratch", "kd", "fitnet", "rkd", "fbt", "pat", "vkd")
    members = [member(METHODS.index(name), tmp_path, teacher_file) for name in names]
    monkeypatch.setattr(Classification, "views", counted)
    monkeypatch.setattr("pat.training.load_teacher", load)
    _load_on.cache_clear()  # else the teacher has been scored on these images before
    ends = together(members)
    monkeypatch.undo()
    for one in members:
        end = ends[one.config.run_id]
        assert isinstance(end, Outcome), end
        same(end, alone(one.config))
    steps = 2 * 6
    assert len(views) == steps
    prompted, learnt, scored = steps, 5, 1  # PAT's own passes; those of the first batch that do not know all questions
    assert steps + prompted <= passes.count(16) <= steps + prompted + learnt
    assert passes.count(48) == scored


class Boom(Exception):
    pass


class Failing(LocalIO):
    """Raises what it is given when it is told of its first epoch."""

    def __init__(self, folder: Path, error: BaseException) -> None:
        super().__init__(folder)
        self.error = error

    def report(self, history: Any, state: Any) -> None:
        raise self.error


def test_who_fails_leaves_and_the_others_go_on(
    tmp_path: Path, teacher_file: Path, alone: Callable[[RunConfig], Outcome]
) -> None:
    """A teacher's file that is none, a loss that is no number, an error of its own, no memory beside the others."""
    good = [member(METHODS.index(name), tmp_path, teacher_file) for name in ("kd", "pat")]
    broken = tmp_path / "broken"
    broken.write_bytes(b"none")
    configs = [
        tiny.config(method="kd", epochs=2, recipe={"mixup": 0.2}, options={"weight": w}) for w in (2.0, 3.0, 4.0)
    ]
    diverging = tiny.config(epochs=2, recipe={"mixup": 0.2, "lr": 1e30, "optimizer": "sgd"})
    measures = Measures(accumulation=2)
    bad = [
        Member(configs[0], LocalIO(tmp_path / "0"), teacher_file=broken),
        Member(diverging, LocalIO(tmp_path / "d")),
        Member(configs[1], Failing(tmp_path / "1", Boom("no")), teacher_file=teacher_file),
        Member(
            configs[2],
            Failing(tmp_path / "2", torch.OutOfMemoryError("no memory")),
            teacher_file=teacher_file,
            measures=measures,
        ),
    ]
    order = [bad[0], good[0], bad[1], bad[2], good[1], bad[3]]
    ends = together(order)
    for one in good:
        end = ends[one.config.run_id]
        assert isinstance(end, Outcome), end
        same(end, alone(one.config))
    file, diverged, own, crowded = (ends[one.config.run_id] for one in bad)
    assert isinstance(file, ConfigError) and "weights file" in str(file)
    assert isinstance(diverged, Outcome) and diverged.status == "diverged"
    assert isinstance(own, Boom)
    assert isinstance(crowded, Crowded) and crowded.measures == measures and "beside" in str(crowded)


def test_who_cannot_be_together_is_told(tmp_path: Path) -> None:
    one, other = tiny.config(), tiny.config(threads=2)
    members = [Member(config, LocalIO(tmp_path / config.run_id)) for config in (one, other)]
    ends = together(members)
    assert isinstance(ends[one.run_id], Outcome) and isinstance(ends[other.run_id], ConfigError)
    assert f"{one.run_id} and {other.run_id} cannot be trained together" in str(ends[other.run_id])


def test_runs_of_other_recipes_and_seeds_are_as_alone_too(
    tmp_path: Path, teacher_file: Path, alone: Callable[[RunConfig], Outcome]
) -> None:
    """They have no views in common, or only those; with another precision the teacher is another one, too."""
    configs = [
        tiny.config(method="kd"),
        tiny.config(method="kd", recipe={"lr": 0.01, "optimizer": "sgd"}),
        tiny.config(tiny.VIT, "rkd", recipe={"precision": "bf16"}),
        tiny.config(method="kd", seed=3),
        tiny.config(tiny.BATCHNORM, "fitnet", epochs=1, recipe={"batch_size": 32}),
    ]
    ends = together([Member(c, LocalIO(tmp_path / c.run_id), teacher_file=teacher_file) for c in configs])
    for config in configs:
        end = ends[config.run_id]
        assert isinstance(end, Outcome), end
        same(end, alone(config))


SCRIPT = """
import sys
from pathlib import Path
from pat.io import LocalIO
from pat.train import train_together
from tests.pat import test_lockstep
folder, teacher = map(Path, sys.argv[1:])
LocalIO.every = 0.0  # a checkpoint after each step
list(train_together([test_lockstep.member(number, folder, teacher) for number in test_lockstep.KILLED]))
"""
KILLED = tuple(METHODS.index(name) for name in ("crd", "kd", "pat", "scratch"))


def test_killed_in_the_middle_they_go_on_to_the_same_end(
    tmp_path: Path, teacher_file: Path, alone: Callable[[RunConfig], Outcome]
) -> None:
    """With SIGKILL, whichever of them had written which checkpoint."""
    members = [member(number, tmp_path, teacher_file) for number in KILLED]
    for kept in (1, 2):  # killed as soon as so many have a checkpoint, then once more
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path), str(teacher_file)], env={**os.environ})
        folders, deadline = [one.io.folder for one in members], time.monotonic() + 120  # type: ignore[attr-defined]
        before = sum((folder / CHECKPOINT).exists() for folder in folders)
        while process.poll() is None and sum((folder / CHECKPOINT).exists() for folder in folders) < before + kept:
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if before + kept >= len(members):
            break
    assert any((folder / CHECKPOINT).exists() for folder in folders)
    ends = together(members)
    for one in members:
        end = ends[one.config.run_id]
        assert isinstance(end, Outcome), end
        same(end, alone(one.config))


PLACES = st.tuples(st.integers(0, 3), st.integers(0, 4), st.sampled_from("ab"), st.integers(0, 6))


@settings(max_examples=60, deadline=None)
@given(walkers=st.lists(PLACES, min_size=1, max_size=6))
def test_each_gets_its_own_batches_and_none_is_made_twice(walkers: list[tuple[int, int, str, int]]) -> None:
    """Walkers begin at any epoch and step, of one of two streams, and end after any number of batches, some by an
    error. Of those that are at a place at one time, one makes the batch."""
    steps, made = 5, list[tuple[str, int, int]]()

    def views(name: str, epoch: int, step: int) -> Iterator[Any]:
        for following in range(step, steps):
            made.append((name, epoch, following))
            yield name, epoch, following

    def walk(epoch: int, step: int, name: str, count: int) -> Walk[int]:
        for number in range(count):
            at = epoch + (step + number) // steps, (step + number) % steps
            got = yield Wanted(name, *at, at[1] == steps - 1, lambda at=at: views(name, *at))  # type: ignore[misc]
            assert isinstance(got, Batch) and got.views == (name, *at)
        if count == 4:
            raise Boom
        return count

    ends = dict(lockstep({number: walk(*walker) for number, walker in enumerate(walkers)}, lambda: None))
    assert ends.keys() == set(range(len(walkers)))
    for number, walker in enumerate(walkers):
        assert isinstance(ends[number], Boom) if walker[3] == 4 else ends[number] == walker[3]
    assert len(made) == len(set(made))


def test_an_error_of_the_views_is_raised_in_each_that_waits() -> None:
    def views() -> Iterator[Any]:
        raise Boom("no image")
        yield

    def walk(name: str) -> Walk[str]:
        try:
            yield Wanted(name, 0, 0, True, views)
        except Boom as error:
            return f"{name}: {error}"
        return name

    ends = dict(lockstep({number: walk(name) for number, name in enumerate("aab")}, lambda: None))
    assert ends == {0: "a: no image", 1: "a: no image", 2: "b: no image"}

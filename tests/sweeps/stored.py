"""Runs that are not trained but stored: checkpoints, epochs and students as a training leaves them, in no time."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import torch
from small import CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, fake_train, small_study

from analysis import storage
from pat.config import DataError, RunConfig
from pat.io import IO
from pat.train import Outcome
from sweeps.study import Search, Study


def stored_study(**changes: Any) -> Study:
    """One pair, kd, a search of two settings with a rung, one seed: 6 or 5 runs of 3 epochs."""
    recipe = replace(RECIPE, epochs=3)
    given = {
        "teachers": {CNN_TEACHER: recipe, VIT_TEACHER: recipe},
        "students": {MLP_STUDENT: recipe},
        "pairs": ((CNN_TEACHER, MLP_STUDENT),),
        "methods": ("kd",),
        "search": Search(trials=2, wave=2, eta=2, rungs=(1 / 3, 1.0)),
        "seeds": 1,
    }
    return small_study(**{**given, **changes})


def stored_train(config: RunConfig, world: IO, *, until: int | None = None, **files: Any) -> Outcome:
    """In the place of `pat.train.train`: what it goes on from, each epoch depends on the one before it.

    So a wrong continuation shows in the student's SHA-256, and a teacher is known by its bytes.
    """
    if (teacher := files.get("teacher_file")) is not None:
        content = storage.read_file(teacher.parent, teacher.name)
        if content is None:
            raise DataError(f"weights file {str(teacher)!r} cannot be read: No such file or directory")
        assert hashlib.sha256(content).hexdigest() == files["teacher_sha256"]
    full = config.recipe.epochs
    state = world.load() or {"epoch": 0, "weights": _next(config, b"")}
    assert state["epoch"] <= full
    whole = fake_train(config, world, until=full)
    epoch, weights = state["epoch"], state["weights"]
    while epoch < min(until or full, full):
        epoch, weights = epoch + 1, _next(config, weights.numpy().tobytes())
        world.report(whole.history[:epoch], {"epoch": epoch, "weights": weights})
        if epoch < full and world.asked_to_stop():
            break
    if epoch < full:
        return Outcome("paused", epoch, whole.history[:epoch])
    return replace(whole, student_sha256=world.export({"weights": weights}))


def _next(config: RunConfig, before: bytes) -> torch.Tensor:
    digest = hashlib.sha256(config.run_id.encode() + before).digest()
    return torch.frombuffer(bytearray(digest), dtype=torch.uint8)

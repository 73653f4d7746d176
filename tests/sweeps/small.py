"""Small studies and runs that are not trained: every test of the planner uses them."""

from __future__ import annotations

import hashlib
import itertools
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulate import Timeline, steps

from pat.config import Data, Recipe, RunConfig
from pat.io import IO
from pat.train import Outcome
from sweeps.planning.planner import Planner
from sweeps.planning.view import RunState
from sweeps.study import Search, Study

CNN_TEACHER, VIT_TEACHER = "convnext_micro_32", "vit_micro_patch8_32"
CNN_STUDENT, MLP_STUDENT = "resnet_nano_32", "mixer_nano_patch8_32"
RECIPE = Recipe(epochs=6, batch_size=32, lr=0.1)


def small_study(**changes: Any) -> Study:
    """Two teachers, two students, two pairs, kd and pat."""
    values: dict[str, Any] = {
        "name": "small",
        "data": Data("digits", 32),
        "teachers": {CNN_TEACHER: RECIPE, VIT_TEACHER: RECIPE},
        "students": {CNN_STUDENT: RECIPE, MLP_STUDENT: replace(RECIPE, ema_decay=0.9)},
        "pairs": ((CNN_TEACHER, MLP_STUDENT), (VIT_TEACHER, CNN_STUDENT)),
        "search": Search(trials=4, wave=4, eta=2, rungs=(1 / 3, 1.0)),
        "seeds": 2,
        "options": {"pat": {"regions": 16, "region_dim": 64}},
    }
    return Study(**{**values, **changes})


def fake_score(config: RunConfig, epoch: int) -> float:
    """A validation score: any fixed function of the run and the epoch."""
    digest = hashlib.sha256(f"{config.run_id} {epoch}".encode()).digest()
    return 50 + digest[0] / 8 + epoch


def simulate(
    study: Study,
    view: dict[str, RunState] | None = None,
    order: int = 0,
    devices: int = 3,
    fate: Callable[[RunConfig], str] = lambda config: "",
    stop_after: int = 10**9,
    unsynced: Iterable[str] = (),
) -> Planner:
    """Run a study with fake runs that take random times on `devices`, for at most `stop_after` segments."""
    rng = random.Random(order)
    planner = Planner(study, view or {}, frozenset(unsynced))
    ended = steps(
        planner,
        Timeline(devices),
        lambda segment, done: rng.lognormvariate(0, 1),
        lambda run, epoch: fake_score(run.config, epoch),
        lambda run: fate(run.config),
    )
    for segment in itertools.islice(ended, stop_after):
        assert planner.view[segment.run_id].epochs == segment.until
    return planner


def fake_train(config: RunConfig, io: IO, *, until: int | None = None, **files: Any) -> Outcome:
    """In the place of `pat.train.train`: the same history for the same run, without any training."""
    full = config.recipe.epochs
    scores = [fake_score(config, epoch) for epoch in range(1, (until or full) + 1)]
    history = [
        {
            "epoch": epoch,
            "lr": 0.1,
            "train_loss": 1.0 / epoch,
            "val_loss_raw": 1.0,
            "val_score_raw": score,
            "val_loss_ema": 1.0,
            "val_score_ema": score,
            "test_score_raw": score,
            "test_score_ema": score,
            "seconds": 0.01,
            "parts": {"ce": 1.0},
        }
        for epoch, score in enumerate(scores, start=1)
    ]
    if until and until < full:
        return Outcome("paused", until, history)
    results = {"test_last_raw": scores[-1], "test_last_ema": scores[-1]}
    return Outcome("finished", full, history, results=results, student_sha256=config.run_id, exported="raw")


def replay(seconds: float = 0.0, doom: str = "") -> Callable[[dict[str, Any]], None]:
    """The work of a Tune trial with `fake_train` in it, after a pause.

    Its process dies while it works on a run whose id stands in the file `doom`; each time one line is taken off it.
    """

    def work(values: dict[str, Any]) -> None:
        import os

        import sweeps.engine.runs
        import sweeps.engine.segments

        sweeps.engine.runs.train = fake_train  # type: ignore[assignment]
        run_id = sweeps.engine.runs.Job.from_dict(values).run.run_id
        doomed = Path(doom).read_text().split() if doom else []
        if run_id in doomed:
            doomed.remove(run_id)
            Path(doom).write_text("\n".join(doomed))
            os._exit(1)
        time.sleep(seconds)
        sweeps.engine.segments.run_one(values)

    return work

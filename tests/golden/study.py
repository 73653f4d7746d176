"""The study of the golden ledgers, and its replay: what the planner decides as the recorded runs come in."""

from __future__ import annotations

import socket
import tarfile
import tempfile
import unittest.mock
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from pat.config import Data, Recipe
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.planning.planner import plan
from sweeps.planning.units import Segment
from sweeps.planning.view import RunState
from sweeps.spaces import BEFORE
from sweeps.store import open_study
from sweeps.study import Search, Study
from tests import tiny

RECIPE = Recipe(epochs=3, batch_size=32, lr=2e-3, optimizer="adamw", weight_decay=0.05, crop_scale=(0.6, 1.0))
LEFT_OUT = (".pt", ".safetensors")


def golden_study() -> Study:
    """Half of kd's settings diverge, a third of PAT's cannot be built: the search meets every end of a run."""
    return Study(
        name="golden",
        data=Data("tiny", 32),
        teachers={tiny.CNN: RECIPE, "vit_micro_patch8_32": RECIPE},
        students={tiny.VIT: replace(RECIPE, ema_decay=0.9), tiny.BATCHNORM: RECIPE},
        pairs=((tiny.CNN, tiny.VIT), ("vit_micro_patch8_32", tiny.BATCHNORM)),
        methods=("kd", "pat"),
        search=Search(trials=8, wave=4, eta=2, rungs=(1 / 3, 1.0)),
        seeds=2,
        options={"pat": tiny.SMALL_PAT},
        choices={"kd": {"weight": (1.0, 1e38)}, "pat": {"prompt_depth": (4, 2, 9)}},
        spaces=BEFORE,
    )


def write_ledger(archive: Path) -> None:
    """Trains the study with the present program, and packs its folder without weights, checkpoints and locks."""
    study = golden_study()
    with tempfile.TemporaryDirectory() as place, unittest.mock.patch.object(socket, "gethostname", lambda: "host"):
        folder, grown = open_study(place, study)
        run_here(Driver(folder, grown, study, Path(place), stream=StringIO()))
        with tarfile.open(archive, "w:xz") as packed:
            for path in sorted(folder.rglob("*.*")):
                if not path.name.startswith(("_", "driver")) and path.suffix not in LEFT_OUT:
                    packed.add(path, path.relative_to(folder))


Choose = Callable[[list[Segment]], Segment]


def replay(study: Study, recorded: Mapping[str, RunState], choose: Choose) -> Iterator[tuple[Segment, dict[str, Any]]]:
    """Lets the recorded runs come in one segment after the other, `choose` says which of those that are ready; gives
    each with what the planner says after it. Raises KeyError for a run that was never recorded."""
    view: dict[str, RunState] = {}
    now = plan(study, view)
    while now.ready:
        segment = choose(now.ready)
        view[segment.run_id] = _until(recorded[segment.run_id], segment)
        now = plan(study, view)
        for dropped in now.prune:
            view[dropped.run_id] = replace(view[dropped.run_id], status="pruned")
        yield (
            segment,
            {
                "ready": sorted(decision(ready) for ready in now.ready),
                "pruned": sorted(dropped.run_id for dropped in now.prune),
                "complete": now.complete,
            },
        )


def first_by_name(ready: list[Segment]) -> Segment:
    """Any order will do that no clock and no speed has a part in."""
    return min(ready, key=lambda segment: segment.run_id)


def decision(segment: Segment) -> str:
    """A segment as one line: run, epochs, phase, place among its cell's trials."""
    return (
        f"{segment.run_id} to {segment.until} {segment.phase} {'' if segment.trial is None else segment.trial}".strip()
    )


def _until(state: RunState, segment: Segment) -> RunState:
    """A recorded run after a segment of it: it has ended where it ended in that segment."""
    over = state.status not in ("", "pruned") and (state.status != "finished" or segment.until == state.epochs)
    return replace(state, status=state.status if over else "", epochs=min(state.epochs, segment.until))

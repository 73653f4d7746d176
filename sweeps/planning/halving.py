"""The search of one cell: waves of settings, each by synchronous successive halving. Pure.

Every decision waits for all runs of its wave, so that timing decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.planning.search import Result
from sweeps.planning.units import ENDED_BADLY, Run, Runs, Segment, Unit, as_text
from sweeps.planning.view import NOT_STARTED, RunState, View
from sweeps.study import SEARCH_SEED, Study

Draw = Callable[[int, Sequence[Result]], Sequence[Mapping[str, Any]] | None]
"""The settings of a wave, given the results of all earlier ones; None while anchors are waited for."""


@dataclass(frozen=True)
class Found:
    """What a search has come to: its best setting, or why there will be none; neither while it goes on."""

    best: dict[str, Any] | None = None
    closed: str = ""


def search_cell(runs: Runs, unit: Unit, view: View, draw: Draw) -> Found:
    """The waves of a cell as far as they have come.

    The search is closed at the end of the wave with which `search.failures` runs have failed. It ends early with a
    wave of which nothing finished.
    """
    study, results = runs.study, list[Result]()
    bad: list[RunState] = []
    waves = study.search.trials // study.search.wave
    for wave in range(waves):
        unit.after_search = (waves - wave) * study.recipe(unit.cell.student).epochs
        settings = draw(wave, results)
        if settings is None:
            _expect(study, unit, waves - wave)
            unit.longest = study.recipe(unit.cell.student).epochs + unit.after_search
            return Found()
        tried = [runs.student(unit.cell, options, SEARCH_SEED) for options in settings]
        states = [view.get(run.run_id, NOT_STARTED) for run in tried]
        ended = _wave(study, unit, settings, tried, states, len(results))
        if ended is None:
            _expect(study, unit, waves - wave - 1)
            return Found()
        results += ended
        bad += [state for state in states if state.status in ENDED_BADLY]
        failed = [state.message for state in bad if state.status == "failed"]
        if len(failed) >= study.search.failures:
            return _closed(unit, f"search closed after {len(failed)} failed runs: {failed[0]}")
        if not wave:
            best = _best(results)
            unit.outcome = as_text(best) if best else ""
        if all(result.status == "failed" for result in ended):
            break
    best = _best(results)
    if best is None:
        return _closed(unit, ": ".join(["no trial finished", *(state.message for state in bad[:1])]))
    return Found(best)


def _closed(unit: Unit, reason: str) -> Found:
    unit.outcome = unit.outcome or ""
    return Found(closed=reason)


def _best(results: Sequence[Result]) -> dict[str, Any] | None:
    """The setting with the highest score at full length; the earlier one of two alike."""
    finished = [result for result in results if result.status == "finished"]
    best = max(finished, key=lambda result: result.scores[-1][1], default=None)
    return dict(best.options) if best else None


def _expect(study: Study, unit: Unit, waves: int) -> None:
    """Count waves that have not been drawn."""
    unit.unknown_runs += waves * study.search.wave
    unit.left_later += waves * wave_epochs(study, unit.cell.student)


def _wave(
    study: Study,
    unit: Unit,
    settings: Sequence[Mapping[str, Any]],
    tried: Sequence[Run],
    states: Sequence[RunState],
    drawn: int,
) -> list[Result] | None:
    """Synchronous successive halving over one wave, before which `drawn` settings were; None while it goes on."""
    weights = study.weights(unit.cell.student)
    rungs = study.search.epochs(study.recipe(unit.cell.student).epochs) if tried else ()
    alive, failed = list(range(len(tried))), set[int]()
    reached: list[list[tuple[int, float]]] = [[] for _ in tried]
    unit.runs |= {run.run_id: state.status for run, state in zip(tried, states, strict=True)}
    for place, rung in enumerate(rungs):
        last = place == len(rungs) - 1
        before = len(unit.ready)
        for index in alive:
            unit.train(tried[index], states[index], rung, "search", drawn + index)
        if len(unit.ready) > before:
            unit.left_later += _later_epochs(study, rungs[place:], len(alive))
            return None
        scores = {index: states[index].score(weights, rung) for index in alive}
        for index, score in scores.items():
            if score is None or (last and states[index].status != "finished"):
                failed.add(index)
            else:
                reached[index].append((rung, score))
        ranked = sorted((index for index in alive if index not in failed), key=lambda index: (-scores[index], index))  # type: ignore[operator]
        kept = ranked if last else ranked[: max(1, len(alive) // study.search.eta)]
        dropped = [index for index in alive if index not in kept and not states[index].status]
        unit.prune += [
            Segment(tried[index], states[index].epochs, "search", unit.cell, 0, drawn + index) for index in dropped
        ]
        alive = kept
    return [
        Result(options, _status(index, alive, failed), tuple(reached[index])) for index, options in enumerate(settings)
    ]


def _status(index: int, alive: Sequence[int], failed: set[int]) -> str:
    return "failed" if index in failed else "finished" if index in alive else "pruned"


def _later_epochs(study: Study, rungs: Sequence[int], entrants: int) -> int:
    """Epochs expected after the first of `rungs`, which `entrants` runs have begun."""
    total, alive = 0, entrants
    for low, high in zip(rungs, rungs[1:], strict=False):
        alive = max(1, alive // study.search.eta)
        total += alive * (high - low)
    return total


def wave_epochs(study: Study, student: str) -> int:
    """Epochs of one whole wave with its pruning."""
    rungs = study.search.epochs(study.recipe(student).epochs)
    return study.search.wave * rungs[0] + _later_epochs(study, rungs, study.search.wave)

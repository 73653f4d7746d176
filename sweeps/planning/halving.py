"""The search of one cell: waves of settings, each by synchronous successive halving. Pure.

Every decision waits for the same scores of the same runs, so that timing decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.planning.search import Result
from sweeps.planning.units import ENDED_BADLY, Run, Runs, Segment, Unit, as_text
from sweeps.planning.view import NOT_STARTED, RunState, View
from sweeps.study import SEARCH_SEED, Cell, Study

Draw = Callable[[int, Sequence[Result]], Sequence[Mapping[str, Any]] | None]
"""The settings of a wave, given the results of all earlier ones; None while anchors are waited for."""


@dataclass(frozen=True)
class Found:
    """What a search has come to: its best setting, or why there will be none; neither while it goes on."""

    best: dict[str, Any] | None = None
    closed: str = ""


def search_cell(runs: Runs, unit: Unit, view: View, draw: Draw) -> Found:
    """The waves of a cell as far as they have come: each is drawn from what the earlier ones scored up to the rung
    `search.ahead`, whatever has come of them since.

    Waves are no longer drawn after the one with which `search.failures` runs have failed, or of which nothing is left;
    the search is closed where so many have failed at its end.
    """
    study, results, known = runs.study, list[Result](), list[Result]()
    bad, early = list[RunState](), 0
    waves, going_on = study.search.trials // study.search.wave, False
    for wave in range(waves):
        unit.after_search = (waves - wave) * study.epochs(unit.cell)
        settings = draw(wave, known)
        if settings is None:
            _expect(study, unit, range(wave, waves))
            unit.longest = study.epochs(unit.cell) + unit.after_search
            return Found()
        tried = [runs.student(unit.cell, options, SEARCH_SEED) for options in settings]
        states = [_state(runs, unit.cell, run, options, view) for run, options in zip(tried, settings, strict=True)]
        soon, ended = _wave(study, unit, settings, tried, states, len(known))
        if soon is None:
            _expect(study, unit, range(wave + 1, waves))
            return Found()
        known += soon
        early += sum(told.status == state.status == "failed" for told, state in zip(soon, states, strict=True))
        over = early >= study.search.failures
        if ended is None:
            going_on = True
        else:
            results += ended
            bad += [state for state in states if state.status in ENDED_BADLY]
            if not wave and not over:
                best = _best(results)
                unit.outcome = as_text(best) if best else ""
        if over or all(told.status == "failed" for told in soon):
            break
    if going_on:
        return Found()
    failed = [state.message for state in bad if state.status == "failed"]
    if len(failed) >= study.search.failures:
        return _closed(unit, f"search closed after {len(failed)} failed runs: {failed[0]}")
    best = _best(results)
    if best is None:
        return _closed(unit, ": ".join(["no trial finished", *(state.message for state in bad[:1])]))
    return Found(best)


def _state(runs: Runs, cell: Cell, run: Run, options: Mapping[str, Any], view: View) -> RunState:
    """How far a run is; it has ended as its pre-training has where that came to a bad end."""
    before = runs.preceded(cell, options, view)
    if before.status in ENDED_BADLY:
        return RunState(before.status, message=f"its pre-training {before.status}: {before.message}")
    return view.get(run.run_id, NOT_STARTED)


def _closed(unit: Unit, reason: str) -> Found:
    unit.outcome = unit.outcome or ""
    return Found(closed=reason)


def _best(results: Sequence[Result]) -> dict[str, Any] | None:
    """The setting with the highest score at full length; the earlier one of two alike."""
    finished = [result for result in results if result.status == "finished"]
    best = max(finished, key=lambda result: result.scores[-1][1], default=None)
    return dict(best.options) if best else None


def _expect(study: Study, unit: Unit, waves: Iterable[int]) -> None:
    """Count waves that have not been drawn."""
    for wave in waves:
        unit.unknown_runs += study.search.wave
        unit.undrawn += study.search.wave
        unit.left_later += wave_epochs(study, unit.cell, wave)


def _wave(
    study: Study,
    unit: Unit,
    settings: Sequence[Mapping[str, Any]],
    tried: Sequence[Run],
    states: Sequence[RunState],
    drawn: int,
) -> tuple[list[Result] | None, list[Result] | None]:
    """Synchronous successive halving over one wave, before which `drawn` settings were.

    What it has come to at the rung `search.ahead` and at its end, None before.
    """
    search, weights = study.search, study.weights(unit.cell.student)
    full = study.epochs(unit.cell)
    alive, failed = list(range(len(tried))), set[int]()
    reached: list[list[tuple[int, float]]] = [[] for _ in tried]
    unit.runs |= {run.run_id: state.status for run, state in zip(tried, states, strict=True)}
    soon = None if tried else list[Result]()
    for rung in search.epochs(full):
        last, first = rung == full, not drawn and 0 in alive
        before = len(unit.ready)
        for index in alive:
            unit.train(tried[index], states[index], rung, "search", drawn + index)
        if len(unit.ready) > before:
            unit.left_later += _later_epochs(study, unit.cell, rung, len(alive), first)
            return soon, None
        scores = {index: states[index].score(weights, rung) for index in alive}
        for index, score in scores.items():
            if score is None or (last and states[index].status != "finished"):
                failed.add(index)
            else:
                reached[index].append((rung, score))
        ranked = sorted((index for index in alive if index not in failed), key=lambda index: (-scores[index], index))  # type: ignore[operator]
        kept = ranked if last else ranked[: search.going_on(len(alive), first)]
        if search.keep_default and first and 0 in ranked and 0 not in kept:
            kept[-1] = 0
        dropped = [index for index in alive if index not in kept and not states[index].status]
        unit.prune += [
            Segment(tried[index], states[index].epochs, "search", unit.cell, 0, drawn + index) for index in dropped
        ]
        alive = kept
        if rung == search.ahead_epochs(full):
            soon = _results(settings, reached, alive if last else (), failed)
    return soon, _results(settings, reached, alive, failed)


def _results(
    settings: Sequence[Mapping[str, Any]],
    reached: Sequence[Sequence[tuple[int, float]]],
    finished: Collection[int],
    failed: Collection[int],
) -> list[Result]:
    statuses = [
        "failed" if index in failed else "finished" if index in finished else "pruned" for index in range(len(settings))
    ]
    return [Result(*found) for found in zip(settings, statuses, map(tuple, reached), strict=True)]


def _later_epochs(study: Study, cell: Cell, rung: int, entrants: int, default: bool) -> int:
    """Epochs expected after a rung that `entrants` runs have begun; `default`: it is among them."""
    rungs = [epoch for epoch in study.search.epochs(study.epochs(cell)) if epoch >= rung]
    total, alive = 0, entrants
    for low, high in zip(rungs, rungs[1:], strict=False):
        alive = study.search.going_on(alive, default)
        total += alive * (high - low)
    return total


def wave_epochs(study: Study, cell: Cell, wave: int) -> int:
    """Epochs of one whole wave with its pruning."""
    first = study.search.epochs(study.epochs(cell))[0]
    return study.search.wave * first + _later_epochs(study, cell, first, study.search.wave, not wave)

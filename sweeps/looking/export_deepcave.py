"""The searches of a study for DeepCAVE, each as a folder of two tables that its DataFrame converter reads."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from analysis.storage import write_file
from pat.config import ConfigError
from sweeps.looking.export_optuna import Trial, trials_of
from sweeps.spaces import Log, Range
from sweeps.store import read_study
from sweeps.study import Cell, Study
from sweeps.teachers import recorded

SCORE = "metric:validation [0; 100] (maximize)"
_OWN = ("config_id", SCORE, "status", "start_time", "end_time", "budget", "seed", "run_id")


def export_deepcave(folder: Path, target: Path) -> int:
    """Write every cell's search into a folder of its name in `target`; returns how many have a trial.

    A row of trials.csv is a setting at a rung that it has reached: the budget is in epochs, the score in percent, times
    are in seconds from the first row's start. A failed setting has one row without a score. A range is as wide as the
    cell's space and what was tried outside, as a default may be; a choice is written as `option=value`, which stays a
    word. Raises ConfigError where there is no study, and LedgerError where `target` cannot be written.
    """
    study = read_study(folder)
    if study is None:
        raise ConfigError(f"{str(folder)!r}: no study here")
    study, count = recorded(study, folder), 0
    for cell, trials in trials_of(study, folder).items():
        rows = [row for place, trial in enumerate(trials) for row in _rows(study, cell, place, trial)]
        if rows:
            name = re.sub(r"[^\w.-]", "_", "--".join(filter(None, cell)))
            write_file(target, f"{name}/configspace.csv", _text(_space(study, cell, trials)))
            write_file(target, f"{name}/trials.csv", _text(rows))
            count += 1
    return count


def _space(study: Study, cell: Cell, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """A row for each option that the cell's search changes."""
    rows, default = list[dict[str, Any]](), trials[0].options
    for name, kind in study.space(cell.method).items():
        tried = [trial.options[name] for trial in trials]
        if isinstance(kind, Range):
            low, high = min([kind.low, *tried]), max([kind.high, *tried])
            rows.append(
                {
                    "name": name,
                    "type": "float",
                    "log": isinstance(kind, Log) and low > 0,
                    "lower": low,
                    "upper": high,
                    "default": default[name],
                }
            )
            rows[-1]["distribution"] = "uniform"
        else:
            items = [_word(name, value) for value in dict.fromkeys((*kind, *tried))]
            numbered = {f"item_{place}": item for place, item in enumerate(items)}
            rows.append(
                {
                    "name": name,
                    "type": "categorical",
                    "default": _word(name, default[name]),
                    "ordered": False,
                    **numbered,
                }
            )
    return rows


def _rows(study: Study, cell: Cell, place: int, trial: Trial) -> Iterator[dict[str, Any]]:
    """A trial at each rung that it has reached."""
    space, weights, full = study.space(cell.method), study.weights(cell.student), study.epochs(cell)
    options = {
        name: trial.options[name] if isinstance(kind, Range) else _word(name, trial.options[name])
        for name, kind in space.items()
    }
    began = trial.started.timestamp() if trial.started else 0.0
    took = trial.ended.timestamp() - began if trial.started and trial.ended else 0.0
    scores = {
        rung: trial.state.score(weights, rung) for rung in study.search.epochs(full) if rung <= trial.state.epochs
    }
    failed = trial.state.status in ("failed", "diverged")
    for rung, score in {full: None}.items() if failed else scores.items():
        if score is None and not failed:
            continue
        passed = took * min(1.0, rung / max(1, trial.state.epochs))
        own = (place, score, "crashed" if failed else "success", began, began + passed, rung, 0, trial.run_id)
        yield {**options, **dict(zip(_OWN, own, strict=True))}


def _word(name: str, value: Any) -> str:
    return f"{name}={value}"


def _text(rows: Sequence[dict[str, Any]]) -> bytes:
    """The rows as CSV; what a row does not have is empty."""
    sink = io.StringIO()
    table = csv.DictWriter(sink, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return sink.getvalue().encode()

"""A run's numbers under every selection rule, from the rows of its epochs, and its teacher's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pat.config import RunConfig
from pat.data.beside import beside

if TYPE_CHECKING:
    from pat.data import Source
    from pat.io import IO
    from pat.methods import Method

RULES = ("last", "best_val", "best_test")
WEIGHTS = ("raw", "ema")


def results(history: list[dict[str, Any]]) -> dict[str, float]:
    """Scores on val and test under every rule, raw and EMA: `{split}_{rule}_{weights}`, nan where it does not exist.

    `best_test` is the rule of much of the literature; it reads the test set and decides nothing here.
    """
    found = {}
    for weights in WEIGHTS:
        for rule in RULES:
            row = chosen_epoch(history, rule, weights)
            for split in ("val", "test"):
                found[f"{split}_{rule}_{weights}"] = row[f"{split}_score_{weights}"] if row else math.nan
    return found


def chosen_epoch(history: list[dict[str, Any]], rule: str, weights: str) -> dict[str, Any] | None:
    """The row of `history` that a rule selects (the earliest of equals), None where the rule has no numbers."""
    key = {"last": "epoch", "best_val": f"val_score_{weights}", "best_test": f"test_score_{weights}"}[rule]
    rows = [row for row in history if not math.isnan(row[key]) and not math.isnan(row[f"test_score_{weights}"])]
    return max(rows, key=lambda row: row[key], default=None)


def teacher_score(method: Method, config: RunConfig, sha256: str, io: IO, test: Source) -> float:
    """That of a run's teacher, whose bytes have this SHA-256, on the test images: once for all runs of a process on
    one data set. nan where there is none."""
    teacher = method.teacher
    if teacher is None:
        return math.nan
    return beside(
        test,
        ("teacher", config.teacher, config.task, sha256, config.threads, io.world_size),
        lambda: method.task.for_teacher.score(teacher, test, io.rank, io.world_size).score,
    )

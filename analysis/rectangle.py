"""What all methods of a setting have finished: the one rule for every table, array and figure that compares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frames import Frames
from analysis.order import order
from analysis.words import few

PAIR = ["teacher", "student"]
_KEY = [*PAIR, "seed"]


@dataclass(frozen=True)
class Rectangle:
    """`values` [methods, seeds, pairs] without a gap, the names along its axes, and `left_out`: each method that has
    nothing yet, and each pair and seed that was given up, in words."""

    values: NDArray[np.float64]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    pairs: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]

    @property
    def students(self) -> list[str]:
        """The student of each pair."""
        return [student for _, student in self.pairs]

    def of(self, method: str) -> NDArray[np.float64]:
        """Its values [pairs, seeds]."""
        return self.values[self.methods.index(method)].T

    @property
    def dropped(self) -> str:
        """`left_out` in a sentence, empty where nothing was."""
        return f"Left out, because not all methods have it: {few(self.left_out)}." if self.left_out else ""


def of_gains(frames: Frames, setting: str) -> Rectangle:
    """The gains over scratch of all methods of a setting, in points."""
    gains = frames.seed_gains.dropna(subset="gain_over_scratch")
    rows = gains[gains["setting"] == setting].rename(columns={"gain_over_scratch": "score"})
    return rectangle(rows, frames.matrix[frames.matrix["setting"] == setting].sort_values(PAIR))


def rectangle(rows: pd.DataFrame, asked: pd.DataFrame) -> Rectangle:
    """Of the finished `rows` (teacher, student, method, seed, score) what all their methods have, of the pairs and
    seeds that the study was `asked` for (its matrix' rows of one setting).

    Pairs and seeds are given up so that as many runs as possible are left; where that is equal, seeds are kept."""
    methods = order(rows["method"])
    pairs = list(asked[PAIR].drop_duplicates().itertuples(index=False, name=None))
    seeds = [int(seed) for seed in sorted(asked["seed"].unique())]
    full = pd.MultiIndex.from_tuples([(*pair, seed) for pair in pairs for seed in seeds], names=_KEY)
    wide = rows.pivot(index=_KEY, columns="method", values="score").reindex(index=full, columns=methods)
    cube = wide.to_numpy(float).reshape(len(pairs), len(seeds), len(methods))
    kept_pairs, kept_seeds = largest(~np.isnan(cube).any(axis=2)) if methods else ([], [])
    left = [f"method {name}" for name in order(asked["method"]) if name not in methods]
    left += [f"pair {pair[0]} -> {pair[1]}" for i, pair in enumerate(pairs) if i not in kept_pairs]
    left += [f"seed {seed}" for i, seed in enumerate(seeds) if i not in kept_seeds]
    values = cube[np.ix_(kept_pairs, kept_seeds)].transpose(2, 1, 0)
    names = tuple(pairs[i] for i in kept_pairs)
    return Rectangle(values, tuple(methods), tuple(seeds[i] for i in kept_seeds), names, tuple(left))


def largest(there: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """Rows and columns of `there` [pairs, seeds] whose crossing has no gap and is as large as can be found: the columns
    with most gaps (of equals the last) are given up one after another, each time with the rows that still have one."""
    worst: Sequence[int] = sorted(
        range(there.shape[1]), key=lambda i: (np.count_nonzero(~there[:, i]), i), reverse=True
    )
    best: tuple[list[int], list[int]] = [], []
    for dropped in range(len(worst)):
        columns = sorted(set(range(there.shape[1])) - set(worst[:dropped]))
        rows = np.flatnonzero(there[:, columns].all(axis=1)).tolist()
        if len(rows) * len(columns) > len(best[0]) * len(best[1]):
            best = rows, columns
    return best

"""The scores of a study as plain arrays, in the shapes that rliable and autorank take."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import join, seed_gains
from analysis.frames import Frames
from analysis.plots.looks import order
from analysis.storage import Folder, write_file

What = Literal["gain", "score"]
_PAIR = ["teacher", "student"]
_KEY = [*_PAIR, "seed"]


@dataclass(frozen=True)
class Scores:
    """`values` [methods, seeds, pairs], complete: gains over scratch in points of the score, or test scores in
    percent; the names along its axes; and `left_out`, one line for each method that has nothing yet, and each pair and
    seed that not all others have."""

    values: NDArray[np.float64]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    pairs: tuple[str, ...]
    left_out: tuple[str, ...]


def complete(frames: Frames, setting: str = "tuned", what: What = "gain") -> Scores:
    """The scores of every method at one setting, of the seeds and pairs that all methods have finished.

    Whatever has the largest share of gaps is left out first, a pair or a seed, until none is left. Scores have
    the student's own, `scratch`, as a first method. Raises ValueError for a setting that the study does not have.
    """
    rows = _rows(frames, setting, what)
    if rows.empty:
        raise ValueError(f"setting {setting!r} of study {frames.study!r}: nothing is finished")
    methods = order(rows["method"])
    wide = rows.pivot(index=_KEY, columns="method", values="score").reindex(columns=methods)
    asked = frames.matrix[frames.matrix["setting"] == setting]
    pairs = pd.MultiIndex.from_frame(asked[_PAIR].drop_duplicates())
    seeds = sorted(asked["seed"].unique())
    full = pd.MultiIndex.from_tuples([(*pair, seed) for pair in pairs for seed in seeds], names=_KEY)
    cube = wide.reindex(full).to_numpy(float).reshape(len(pairs), len(seeds), len(methods))
    kept_pairs, kept_seeds = _rectangle(~np.isnan(cube).any(axis=2))
    names = [f"{teacher} -> {student}" for teacher, student in pairs]
    left = [f"method {name}" for name in order(asked["method"]) if name not in methods]
    left += [f"pair {name}" for i, name in enumerate(names) if i not in kept_pairs]
    left += [f"seed {seed}" for i, seed in enumerate(seeds) if i not in kept_seeds]
    values = cube[np.ix_(kept_pairs, kept_seeds)].transpose(2, 1, 0)
    seed_names = tuple(int(seeds[i]) for i in kept_seeds)
    return Scores(values, tuple(methods), seed_names, tuple(names[i] for i in kept_pairs), tuple(left))


def scores(frames: Frames, setting: str = "tuned", what: What = "gain") -> dict[str, NDArray[np.float64]]:
    """method -> scores [seeds, pairs]: what `rliable.library.get_interval_estimates` takes (runs x tasks). Only what
    is complete; `complete` says what was left out."""
    found = complete(frames, setting, what)
    return dict(zip(found.methods, found.values, strict=True))


def blocks(frames: Frames, setting: str = "tuned", what: What = "gain") -> pd.DataFrame:
    """pairs x methods, the means over seeds: what `autorank.autorank` takes (data sets x populations)."""
    found = complete(frames, setting, what)
    index = pd.Index(found.pairs, name="pair")
    return pd.DataFrame(found.values.mean(axis=1).T, index=index, columns=list(found.methods))


def write_arrays(frames: Frames, folder: Folder, name: str, setting: str = "tuned", what: What = "gain") -> None:
    """One `.npz` at `folder`/`name`: `scores` [methods, seeds, pairs] with the names `methods`, `seeds`, `pairs`, and
    `left_out`, `setting`, `what`. It is read by `numpy.load` without pickle, and equal scores are equal bytes."""
    found, sink = complete(frames, setting, what), io.BytesIO()
    np.savez(
        sink,
        scores=found.values,
        methods=np.array(found.methods, dtype=np.str_),
        seeds=np.array(found.seeds, dtype=np.int64),
        pairs=np.array(found.pairs, dtype=np.str_),
        left_out=np.array(found.left_out, dtype=np.str_),
        setting=np.array(setting),
        what=np.array(what),
    )
    write_file(folder, name, sink.getvalue())


def _rows(frames: Frames, setting: str, what: What) -> pd.DataFrame:
    """Columns teacher, student, method, seed, score; one row per finished run."""
    if what == "gain":
        gains = seed_gains(frames.matrix, frames.runs).dropna(subset="gain_over_scratch")
        gains = gains[gains["setting"] == setting].rename(columns={"gain_over_scratch": "score"})
        return gains[[*_PAIR, "method", "seed", "score"]]
    rows = join(frames.matrix, frames.runs).dropna(subset="score")
    alone = rows[rows["setting"] == "scratch"][["student", "seed", "method", "score"]]
    rows = rows[rows["setting"] == setting][[*_PAIR, "method", "seed", "score"]]
    return pd.concat([alone.merge(rows[_PAIR].drop_duplicates(), on="student"), rows], ignore_index=True)


def _rectangle(there: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """The rows and columns of `there` that are left when those with the largest share of gaps are dropped one by one;
    of equals the last, and a row before a column."""
    rows, columns = list(range(there.shape[0])), list(range(there.shape[1]))
    while rows and columns:
        gaps = ~there[np.ix_(rows, columns)]
        if not gaps.any():
            break
        of_rows, of_columns = gaps.mean(axis=1), gaps.mean(axis=0)
        if of_rows.max() >= of_columns.max():
            del rows[len(rows) - 1 - int(of_rows[::-1].argmax())]
        else:
            del columns[len(columns) - 1 - int(of_columns[::-1].argmax())]
    return (rows, columns) if rows and columns else ([], [])

"""The scores of a study as plain arrays, in the shapes that rliable and autorank take."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import join
from analysis.frames import Frames
from analysis.rectangle import rectangle
from analysis.storage import Folder, write_file

What = Literal["gain", "score"]
_PAIR = ["teacher", "student"]


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

    What is left out is `analysis.rectangle`'s choice. Scores have the student's own, `scratch`, as a first method.
    Raises ValueError for a setting that the study does not have.
    """
    rows = _rows(frames, setting, what)
    if rows.empty:
        raise ValueError(f"setting {setting!r} of study {frames.study!r}: nothing is finished")
    found = rectangle(rows, frames.matrix[frames.matrix["setting"] == setting])
    names = tuple(f"{teacher} -> {student}" for teacher, student in found.pairs)
    return Scores(found.values, found.methods, found.seeds, names, found.left_out)


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
        gains = frames.seed_gains.dropna(subset="gain_over_scratch")
        gains = gains[gains["setting"] == setting].rename(columns={"gain_over_scratch": "score"})
        return gains[[*_PAIR, "method", "seed", "score"]]
    rows = join(frames.matrix, frames.runs).dropna(subset="score")
    alone = rows[rows["setting"] == "scratch"][["student", "seed", "method", "score"]]
    rows = rows[rows["setting"] == setting][[*_PAIR, "method", "seed", "score"]]
    return pd.concat([alone.merge(rows[_PAIR].drop_duplicates(), on="student"), rows], ignore_index=True)

"""The searches: one row per setting that was tried, in the order in which its cell's settings were drawn."""

from __future__ import annotations

import pandas as pd

from analysis.frames import Frames
from analysis.tables import INT, REAL, TEXT, register_table

_CELL = ["teacher", "student", "method"]


@register_table(
    "trials",
    70,
    title="Every setting that was tried",
    note="The searches, in the order in which settings were drawn. Scores are the validation {plain} of one seed; "
    "those of pruned trials are at their last rung and not comparable with full runs.",
    columns={
        "teacher": (TEXT, "timm name"),
        "teacher_family": (TEXT, "cnn, vit or mlp"),
        "student": (TEXT, "timm name"),
        "student_family": (TEXT, "cnn, vit or mlp"),
        "method": (TEXT, "how it was distilled"),
        "trial": (INT, "place in the order of drawing, from 0: the paper's default"),
        "run_id": (TEXT, "its run"),
        "options": (TEXT, "the setting, JSON"),
        "status": (TEXT, "finished, pruned, diverged or failed"),
        "epochs_done": (INT, "epochs it was trained"),
        "score": (REAL, "validation {short} after its last epoch, percent"),
        "best": (REAL, "best finished score of the cell so far, percent"),
        "seconds": (REAL, "time of its epochs, s"),
        "message": (TEXT, "first line of the error"),
    },
    shown=("teacher", "student", "method", "trial", "options", "status", "epochs_done", "score", "best"),
)
def prepare(frames: Frames) -> pd.DataFrame:
    """Columns: teacher, teacher_family, student, student_family, method, trial (place in the order of drawing, from 0),
    run_id, options (JSON text), status, epochs_done, score, best, seconds, message.

    `score` is the validation score in percent at the last epoch that the run has done, under the weights that the
    matrix shows of its student; of a pruned run that is at a rung below the full length. `best` is the highest score
    of the cell's finished trials up to this one (NaN before the first). Runs recorded before schema version 3 do not
    say their place: they come before those that do, ordered by the time at which they began.
    """
    runs = frames.runs[frames.runs["phase"] == "search"]
    scores = _scores(frames, runs)
    rows = runs[[*_CELL, "teacher_family", "student_family", "run_id", "options", "status", "epochs_done"]].assign(
        score=runs["run_id"].map(scores).astype(float),
        seconds=runs["seconds"],
        message=runs["message"],
        drawn=runs["trial"],
    )
    rows = rows.assign(began=runs["started"]).sort_values(
        [*_CELL, "drawn", "began", "run_id"], kind="stable", na_position="first"
    )
    rows["trial"] = rows.groupby(_CELL).cumcount()
    finished = rows["score"].where(rows["status"] == "finished")
    rows["best"] = finished.groupby([rows[name] for name in _CELL]).cummax()
    rows["best"] = rows.groupby(_CELL)["best"].ffill()
    columns = ["teacher", "teacher_family", "student", "student_family", "method", "trial", "run_id", "options"]
    return rows[[*columns, "status", "epochs_done", "score", "best", "seconds", "message"]].reset_index(drop=True)


def _scores(frames: Frames, runs: pd.DataFrame) -> pd.Series:
    """Of each search run its validation score after its last epoch."""
    weights = frames.matrix.drop_duplicates("student").set_index("student")["weights"]
    epochs = frames.epochs[frames.epochs["run_id"].isin(runs["run_id"])]
    last = epochs.loc[epochs.groupby("run_id")["epoch"].idxmax()].set_index("run_id")
    ema = runs.set_index("run_id")["student"].map(weights).reindex(last.index) == "ema"
    return last["val_score_ema"].astype(float).where(ema, last["val_score_raw"].astype(float))

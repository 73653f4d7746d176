"""Teachers that were trained under several seeds: how much of a gain is the luck of the teacher's training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.frames import Frames
from analysis.order import order
from analysis.schema import AT
from analysis.stats.twoway import row_effect
from analysis.tables import INT, REAL, TEXT, register_table

_CELL, _GAIN = ["model", "student", "method", "setting"], "gain_over_scratch"


@register_table(
    "teacher_seeds",
    23,
    title="Luck of the teacher",
    note="Teachers that were trained under several seeds (only in a study with --teacher-seeds). Students of one seed "
    "share their initial weights, batches, views and baseline, whoever teaches them, so that they differ in the "
    "teacher's seed alone. sd_teacher: by how much gains differ with it; sd_rest: by how much a run differs beside "
    "that; p: Fisher's test that all seeds of the teacher teach alike (two-way, teacher's seed by student's), not "
    "corrected for the number of cells.",
    columns={
        "teacher": (TEXT, "the teacher's model"),
        "student": (TEXT, "timm name of the student"),
        "method": (TEXT, "how it was distilled"),
        "setting": (TEXT, "default or tuned"),
        "teachers": (INT, "seeds of the teacher"),
        "seeds": (INT, "seeds of the student that all of them have"),
        "gain": (REAL, "over scratch, mean over the teachers, {points}"),
        "least": (REAL, "of the teacher that helps least"),
        "most": (REAL, "of the one that helps most"),
        "sd_teacher": (REAL, "standard deviation over the teacher's seeds, {points}"),
        "sd_rest": (REAL, "of a run with a teacher at hand, {points}"),
        "p": (REAL, "that the teacher's seed makes no difference"),
    },
)  # fmt: skip
def prepare(frames: Frames) -> pd.DataFrame:
    """A row for each model, student, method and setting with at least two teachers and two seeds that all have."""
    gains = frames.seed_gains.dropna(subset=_GAIN)
    gains = gains.assign(model=gains["teacher"].astype(str).str.replace(f"{AT}.*", "", regex=True))
    several = gains.groupby("model")["teacher"].transform("nunique") > 1
    gains = gains[several & (gains["model"] != "")]
    rows = []
    for method in order(gains["method"]):
        for key, cell in gains[gains["method"] == method].groupby(_CELL, sort=False):
            values = cell.pivot(index="teacher", columns="seed", values=_GAIN).dropna(axis=1).to_numpy(float)
            if min(values.shape) > 1:
                means, found = values.mean(axis=1), row_effect(values)
                rows.append((*key, *values.shape, float(np.mean(means)), means.min(), means.max(), *found))
    columns = ["teacher", *_CELL[1:], "teachers", "seeds", "gain", "least", "most", "sd_teacher", "sd_rest", "p"]
    return pd.DataFrame(rows, columns=columns)

"""What is known of a teacher before any student is trained, against what each method gains with it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from analysis.frames import Frames
from analysis.order import order
from analysis.predictors import as_frame
from analysis.schema import SETTINGS
from analysis.stats.correlation import Correlation, within
from analysis.tables import INT, REAL, TEXT, register_table

PREDICTORS: Mapping[str, str] = {
    "teacher_score": "the teacher's own score",
    "logit_ratio": "its largest logit: over the second",
    "entropy": "the entropy of its answers",
    "self_similarity": "how alike its features: of two images are",
    "similarity": "its features: beside the student's",
    "flop_ratio": "its work for an image",
    "teacher_size": "its number of parameters",
    "same_family": "teacher and student of one family",
}
"""By the name that the table has, in the order of the figure. Within a student a ratio or a gap to it ranks alike."""

_COLUMNS = ("setting", "method", "predictor", *Correlation._fields)


@register_table(
    "predictors",
    32,
    title="Which teacher: what is known of it against what it gives",
    note="Spearman's rank correlation within students of what is known of a teacher with the gain over scratch, so "
    "that only the choice among the teachers of a student counts. Teachers are measured on validation images when a "
    "study is complete (those that were given may have been trained on these); where that was not done, the score is "
    "that of the test set and only sizes of models that were trained in the study are known. With few teachers a "
    "student intervals are wide; p-values are not corrected for the number of rows.",
    columns={
        "setting": (TEXT, "default or tuned"),
        "method": (TEXT, "how it was distilled"),
        "predictor": (
            TEXT,
            "teacher_score; logit_ratio (largest over second largest raw logit, R12); entropy (nats); self_similarity "
            "(mean cosine of two images' features); similarity (CKA with the scratch student's features); flop_ratio; "
            "teacher_size (parameters); same_family",
        ),
        "rho": (REAL, "rank correlation within students, -1 to 1"),
        "low": (REAL, "its 95 % interval"),
        "high": (REAL, "its upper end"),
        "p": (REAL, "of 999 orders of the teachers within each student"),
        "pairs": (INT, "pairs of students with several teachers, on which it stands"),
    },
)
def prepare(frames: Frames) -> pd.DataFrame:
    """One row per setting, method and predictor of which a correlation can be said."""
    cells = known(frames)
    rows = []
    for setting in SETTINGS:
        for method in order(cells.loc[cells["setting"] == setting, "method"]):
            group = cells[(cells["setting"] == setting) & (cells["method"] == method)]
            for name in PREDICTORS:
                found = within(group[name], group["gain_over_scratch"], list(group["student"]))
                if pd.notna(found.rho):
                    rows.append((setting, method, name, *found))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def known(frames: Frames) -> pd.DataFrame:
    """The cells with a gain, with a column for each of PREDICTORS; NaN where it is not known."""
    cells = frames.cells.dropna(subset="gain_over_scratch").copy()
    cells = cells.merge(as_frame(frames.predictors), how="left", on=["teacher", "student"])
    own = frames.runs.dropna(subset="student_params").drop_duplicates("student").set_index("student")["student_params"]
    cells["teacher_size"] = cells["params"].fillna(cells["teacher"].map(own.astype(float)))
    if cells["score"].notna().all():
        cells["teacher_score"] = cells["score"]
    cells["self_similarity"] = cells["alike"]
    cells["same_family"] = (cells["teacher_family"] == cells["student_family"]).astype(float)
    return cells

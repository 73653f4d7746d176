"""What becomes of a setting in another cell: the runs of a study's exchange beside the cells' own confirmations."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import join
from analysis.frames import Frames
from analysis.schema import FROM
from analysis.stats import Estimate, mean_gain
from analysis.stats.ratio import ratio

KINDS = {
    "student": "same student, another teacher",
    "families": "same families, another student",
    "other": "other families",
}
"""How the cell that found a setting is like the one in which it was tried."""

_CELL, _PAIR = ["teacher", "student", "method"], ["teacher", "student"]

Array = NDArray[np.float64]


class Trips(NamedTuple):
    """Settings that were tried in another cell. `frame`: of each the method, the cell (teacher, student), whence it
    came (from_teacher, from_student) and `kind`, one of KINDS. In points, [trips, seeds]: what it gains there over the
    default setting (`gained`), what the cell's own best does (`tuning`), and the default over scratch (`default`)."""

    frame: pd.DataFrame
    gained: Array
    tuning: Array
    default: Array

    def only(self, kept: NDArray[np.bool_]) -> Trips:
        """Some of them."""
        return Trips(self.frame[kept], *(part[kept] for part in self[1:]))

    @property
    def students(self) -> list[str]:
        return list(self.frame["student"])

    def cells(self) -> Trips:
        """One trip into each cell: what is the same for all of them."""
        return self.only((~self.frame.duplicated(_CELL)).to_numpy())

    def survives(self) -> Estimate:
        """The share of the tuning gain that is left; NaN where tuning has no gain that is clear."""
        return ratio(self.gained, self.tuning, self.students)

    def kept(self) -> Estimate:
        """The share of the own best setting's gain over scratch that is left."""
        return ratio(self.gained + self.default, self.tuning + self.default, self.students)

    def lost(self) -> Estimate:
        """What is lost against the own best setting, in points."""
        return mean_gain(self.tuning - self.gained, self.students)


def trips(frames: Frames) -> Trips:
    """Every setting whose runs in another cell have all finished, as have those of the two settings of that cell, on
    all seeds; in the order of the matrix."""
    tried = frames.exchange[frames.exchange["setting"].str.startswith(FROM)]
    rows = pd.concat([frames.matrix, tried], ignore_index=True)
    joined = join(rows, frames.runs) if len(tried) else rows.assign(score=np.nan)
    wide = joined.pivot_table(index=[*_CELL, "setting"], columns="seed", values="score", dropna=False, sort=False)
    frame = tried[[*_CELL, "setting"]].drop_duplicates(ignore_index=True)
    seeds = wide.reindex(columns=sorted(set(tried["seed"])))
    scores = {
        name: seeds.reindex(pd.MultiIndex.from_frame(frame.assign(**change)[[*_CELL, "setting"]])).to_numpy(float)
        for name, change in (
            ("from", {}),
            ("tuned", {"setting": "tuned"}),
            ("default", {"setting": "default"}),
            ("scratch", {"teacher": "", "method": "scratch", "setting": "scratch"}),
        )
    }
    source = frame["setting"].str.removeprefix(FROM).str.split(":", n=1, expand=True).reindex(columns=[0, 1])
    frame = frame.drop(columns="setting").assign(from_teacher=source[0], from_student=source[1])
    found = Trips(
        frame.assign(kind=_kinds(frame, _families(frames.matrix))),
        scores["from"] - scores["default"],
        scores["tuned"] - scores["default"],
        scores["default"] - scores["scratch"],
    )
    return found.only(np.asarray(~np.isnan(found.gained + found.tuning).any(axis=1), dtype=bool))


def _families(matrix: pd.DataFrame) -> dict[tuple[str, str], tuple[object, object]]:
    pairs = matrix.drop_duplicates(_PAIR)
    families = zip(pairs["teacher_family"], pairs["student_family"], strict=True)
    return dict(zip(pairs[_PAIR].itertuples(index=False, name=None), families, strict=True))


def _kinds(frame: pd.DataFrame, families: dict[tuple[str, str], tuple[object, object]]) -> list[str]:
    names = ["teacher", "student", "from_teacher", "from_student"]
    found = []
    for teacher, student, other_teacher, other_student in frame[names].itertuples(index=False, name=None):
        same = families.get((teacher, student)) == families.get((other_teacher, other_student))
        found.append("student" if student == other_student else "families" if same else "other")
    return found

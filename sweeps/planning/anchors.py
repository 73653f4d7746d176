"""Warm starts: which cells hand their best settings on to which others."""

from __future__ import annotations

from functools import lru_cache

from pat.models import family
from sweeps.study import Cell, Study
from sweeps.teacher_seeds import model_of

_family = lru_cache(maxsize=None)(family)


def is_anchor(study: Study, cell: Cell) -> bool:
    """Whether a cell is searched before the others of its method."""
    return (cell.teacher, cell.student) in study.anchors


def anchors_of(study: Study, cell: Cell) -> list[Cell]:
    """The anchors for whose first waves a cell waits: those with its student, then those of its pair of families.

    None for an anchor itself, for baselines, and without a search.
    """
    if not (study.anchors and study.search.trials and cell.teacher) or is_anchor(study, cell):
        return []
    same = [pair for pair in study.anchors if pair[1] == cell.student]
    kinds = _kinds(cell.teacher, cell.student)
    akin = [pair for pair in study.anchors if pair not in same and _kinds(*pair) == kinds]
    return [Cell(teacher, student, cell.method) for teacher, student in (*same, *akin)]


def _kinds(teacher: str, student: str) -> tuple[str, str]:
    return _family(model_of(teacher)), _family(student)

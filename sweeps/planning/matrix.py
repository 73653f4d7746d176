"""The matrix of a study as the ledger's table: which run stands where, and how it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pat.tasks import task_class
from sweeps.planning.units import Row
from sweeps.study import SCRATCH, Cell, Study


def matrix_rows(
    study: Study, rows: Sequence[Row], families: Mapping[str, str], running: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    """The rows of a plan of `study` as the ledger's matrix table; `running` are the runs in flight.

    What a method without a teacher has done for a student stands in the row of each of its pairs, as the same runs.
    """
    return [
        {
            "study": study.name,
            "data": study.data.name,
            "metric": task_class(study.task.name).metric,
            "teacher": teacher,
            "teacher_family": families.get(teacher),
            "student": row.cell.student,
            "student_family": families.get(row.cell.student),
            "method": row.cell.method,
            "setting": row.setting,
            "options": row.options,
            "seed": row.seed,
            "run_id": row.run_id,
            "status": "running" if row.status == "waiting" and row.run_id in running else row.status,
            "reason": row.reason or None,
            "rule": "last",
            "weights": study.weights(row.cell.student),
        }
        for row in rows
        for teacher in _teachers(study, row.cell)
    ]


def _teachers(study: Study, cell: Cell) -> list[str]:
    """The teachers in whose rows of the matrix a cell stands; "" for the baselines."""
    if cell.teacher or cell.method == SCRATCH:
        return [cell.teacher]
    return [teacher for teacher, student in study.pairs if student == cell.student]

"""What a study is cut into: cells, and the words and the seed that all of them share."""

from __future__ import annotations

from typing import NamedTuple

SCRATCH, CLASSIFICATION = "scratch", "classification"
SEARCH_SEED = 0
"""The seed of teachers and of every search run; confirmation uses 1, 2, …, which no decision has seen."""


class Cell(NamedTuple):
    """A teacher, a student and a method. Cells of methods that take no teacher, as scratch, are without one."""

    teacher: str
    student: str
    method: str

    def __str__(self) -> str:
        return f"{self.teacher} -> {self.student} {self.method}" if self.teacher else f"{self.student} {self.method}"

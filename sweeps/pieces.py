"""What a study is made of beside recipes and searches: cells, teachers that are given, and its words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from pat.config import ConfigError, Part
from pat.weights import SCHEMES, is_url

SCRATCH, TIMM, CLASSIFICATION = "scratch", "timm:", "classification"
SEARCH_SEED = 0
"""The seed of teachers and of every search run; confirmation uses 1, 2, …, which no decision has seen."""


class Cell(NamedTuple):
    """A teacher, a student and a method. Cells of methods that take no teacher, as scratch, are without one."""

    teacher: str
    student: str
    method: str

    def __str__(self) -> str:
        return f"{self.teacher} -> {self.student} {self.method}" if self.teacher else f"{self.student} {self.method}"


@dataclass(frozen=True)
class TeacherFile(Part):
    """A teacher that is not trained here. `path`: a file, a URL, or `timm:<name.tag>` for timm's pretrained weights.

    The hexadecimal SHA-256 of the file is the teacher's identity. A tag may leave it out: the study's folder then
    records what timm gave when the study began (`sweeps.teachers`).
    """

    path: str
    sha256: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", self.sha256.lower())
        if is_url(self.path) and not self.path.startswith(SCHEMES):
            raise ConfigError(f"teacher file {self.path!r}: a path, {', '.join(SCHEMES)} or timm:<name.tag>")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256) and (self.sha256 or not self.tag):
            held = self.sha256 or "none"
            raise ConfigError(f"teacher file {self.path!r}: SHA-256 {held}, 64 hexadecimal digits are needed")

    @property
    def tag(self) -> str:
        """The name and tag of timm's pretrained weights; empty for other files."""
        return self.path.removeprefix(TIMM) if self.path.startswith(TIMM) else ""

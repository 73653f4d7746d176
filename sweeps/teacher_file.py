"""A teacher that a study does not train, or weights to begin with: where they lie and what identifies them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import timm

from pat.config import ConfigError, Part
from pat.weights import SCHEMES, is_url

TIMM = "timm:"
FREE = ("apache-2.0", "bsd-3-clause", "cc-by-4.0", "mit")
"""Licences of weights that allow all uses."""


def restriction(tag: str) -> str:
    """The licence that timm records for its weights, where it does not allow all uses; else empty."""
    licence = timm.get_pretrained_cfg(tag).license or "none recorded"
    return "" if licence in FREE else licence


@dataclass(frozen=True)
class TeacherFile(Part):
    """A teacher that is not trained here. `path`: a file, a URL, or `timm:<name.tag>` for timm's pretrained weights.

    In `Study.initial` weights that a training starts from, a file or a URL. The hexadecimal SHA-256 of the file is the
    teacher's identity. A tag may leave it out: the study's folder then records what timm gave when the study began
    (`sweeps.teachers`).
    """

    label = "teacher_file"
    path: str
    sha256: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
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

"""Which students' files outlive their runs (`--keep`)."""

from __future__ import annotations

from typing import Literal

Keep = Literal["best", "all", "none"]
KEEP: tuple[Keep, ...] = ("best", "all", "none")


def outlives(keep: Keep, phase: str) -> bool:
    """Whether a student's file stays when its run has ended. The search's are of no use to `best`."""
    return phase in ("teacher", "pretrain") or keep == "all" or (keep == "best" and phase not in ("search", "exchange"))

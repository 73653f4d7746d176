"""Studies of teacher-student pairs: what to run (study, presets), when (planner, search), on what (launch).

from sweeps import Search, Study, TeacherFile, run, space
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.api import Result, run, space
    from sweeps.spaces import Linear, Log
    from sweeps.study import Search, Study, TeacherFile
    from sweeps.teacher_seeds import with_teacher_seeds

__all__ = ["Linear", "Log", "Result", "Search", "Study", "TeacherFile", "run", "space", "with_teacher_seeds"]

_PLACES = {
    "Linear": "spaces", "Log": "spaces", "Search": "study", "Study": "study", "TeacherFile": "study",
    "with_teacher_seeds": "teacher_seeds",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Imported when they are asked for, so that commands which only look are quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES.get(name, 'api')}"), name)

"""PAT and other distillation methods between any two timm models. What needs torch is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pat.config import ConfigError, Data, Method, Recipe, RunConfig, Task, Teacher

if TYPE_CHECKING:
    from pat.methods import create_method, list_methods, method_options
    from pat.models import create_student, create_teacher, family
    from pat.resolve import list_models
    from pat.tasks import create_task, list_tasks

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "Data",
    "Method",
    "Recipe",
    "RunConfig",
    "Task",
    "Teacher",
    "create_method",
    "create_student",
    "create_task",
    "create_teacher",
    "family",
    "list_methods",
    "list_models",
    "list_tasks",
    "method_options",
]
_LATER = {
    "pat.methods": ("create_method", "list_methods", "method_options"),
    "pat.models": ("create_student", "create_teacher", "family"),
    "pat.resolve": ("list_models",),
    "pat.tasks": ("create_task", "list_tasks"),
}
_MODULES = {name: module for module, names in _LATER.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

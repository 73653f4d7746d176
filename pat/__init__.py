"""PAT and other distillation methods between any two timm models."""

from pat.config import ConfigError, Data, Method, Recipe, RunConfig, Task, Teacher
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

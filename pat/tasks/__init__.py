"""What can be learnt, one task a file; importing this package registers them all.

To add a task: a file here with a class derived from `Task` under `@register_task` (its keyword-only arguments are its
options), its metric's words in `analysis.metrics`, and a data set whose `truths` it names. Methods that say
`tasks = ()` then serve it, and so do studies, planner, ledger and report. A task in a module of its own only has to be
imported by the processes that train.
"""

import importlib
import pkgutil

from pat.tasks.base import (
    NO_SCORE,
    Score,
    Seen,
    Task,
    check_data,
    create_task,
    default_task,
    list_tasks,
    register_task,
    task_class,
    task_on,
)

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "NO_SCORE",
    "Score",
    "Seen",
    "Task",
    "check_data",
    "create_task",
    "default_task",
    "list_tasks",
    "register_task",
    "task_class",
    "task_on",
]

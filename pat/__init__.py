"""PAT and other distillation methods between any two timm models, in studies and in a loop of one's own:

    import timm, torch, pat

    student = timm.create_model("resnet18", num_classes=10)
    teacher = timm.create_model("vit_tiny_patch16_224", num_classes=10)  # load your weights into it
    method = pat.create_method("pat", student, teacher, image_size=224).to(device)
    step = torch.compile(method)  # among several processes: DistributedDataParallel(method), compiled or not
    optimizer = torch.optim.AdamW((p for p in method.parameters() if p.requires_grad), lr=1e-3)
    for epoch in range(epochs):
        method.train().begin_epoch(epoch)
        for images, labels, indices in loader:  # normalised for the student; classes [B]; which images they are
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16):
                losses = step(images.to(device), labels.to(device), indices.to(device))
            losses["loss"].backward()
            optimizer.step()
    student.eval()  # a plain timm model, before and after

`Method` and `Task` are what a run's configuration is made of; what one's own methods and tasks are derived from is
`MethodBase` and `TaskBase`. What needs torch is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pat.config import ConfigError, Data, Method, Recipe, RunConfig, Task, Teacher

if TYPE_CHECKING:
    from pat.methods import Losses, create_method, list_methods, method_options, register_method
    from pat.methods import Method as MethodBase
    from pat.models import create_student, create_teacher, family
    from pat.resolve import list_models
    from pat.taps import StageTaps, TapError
    from pat.tasks import Task as TaskBase
    from pat.tasks import create_task, list_tasks, register_task

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "Data",
    "Losses",
    "Method",
    "MethodBase",
    "Recipe",
    "RunConfig",
    "StageTaps",
    "TapError",
    "Task",
    "TaskBase",
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
    "register_method",
    "register_task",
]
_LATER = {
    "pat.methods": ("Losses", "create_method", "list_methods", "method_options", "register_method"),
    "pat.models": ("create_student", "create_teacher", "family"),
    "pat.resolve": ("list_models",),
    "pat.taps": ("StageTaps", "TapError"),
    "pat.tasks": ("create_task", "list_tasks", "register_task"),
}
_MODULES = {name: (module, name) for module, names in _LATER.items() for name in names}
_MODULES |= {"MethodBase": ("pat.methods", "Method"), "TaskBase": ("pat.tasks", "Task")}
_PACKAGES = ("losses", "testing")
"""Modules that need no import of their own."""


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"pat.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, called = _MODULES[name]
    found = globals()[name] = getattr(import_module(module), called)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})

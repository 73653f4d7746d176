"""Parameters that a step leaves without a gradient, which workers that share gradients have to know of beforehand."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pat.graph import leaves
from pat.tasks import Task


def has_unused(task: Task, name: str) -> bool:
    """Whether the task's losses leave out some of what timm's model `name` would learn as a student.

    Found out from shapes alone. True where those do not suffice.
    """
    try:
        with torch.device("meta"):
            model = task.build(name, task.num_classes).train()
            views = task.blank(2, torch.device("meta"))
            losses = task.losses(task.outline(model, views.images, True), views.targets)
    except (RuntimeError, NotImplementedError):
        return True
    return bool(unused_parameters(model, losses.values()))


def unused_parameters(model: nn.Module, losses: Iterable[Tensor]) -> list[str]:
    """Names of what `model` would learn and none of the scalar `losses` depends on."""
    reached = leaves(losses)
    return [key for key, p in model.named_parameters() if p.requires_grad and id(p) not in reached]

"""No distillation: the baseline that every gain is measured against, and how teachers are trained."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pat.methods.base import Losses, Method, register_method


@register_method
class Scratch(Method):
    """The task's own losses, with the labels alone."""

    tasks = ()
    teacherless = True
    couples_samples = False

    def forward(self, images: Tensor, targets: Any, indices: Tensor | None = None) -> Losses:
        return self.result(self.see(images, targets), targets)

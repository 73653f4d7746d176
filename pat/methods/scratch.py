"""No distillation: the baseline that every gain is measured against, and how teachers are trained."""

from __future__ import annotations

from torch import Tensor

from pat.losses import cross_entropy
from pat.methods.base import Losses, Method, register_method


@register_method
class Scratch(Method):
    """Cross entropy with the labels alone."""

    couples_samples = False

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        logits = self.student(images)
        loss = cross_entropy(logits, targets)
        return {"loss": loss, "output": logits}

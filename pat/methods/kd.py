"""Knowledge distillation of logits (Hinton, Vinyals & Dean 2015, arXiv 1503.02531)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pat.losses import cross_entropy, kd_loss
from pat.methods.base import Losses, Method, register_method


@register_method
class KD(Method):
    """L = L_CE + weight * T^2 KL(teacher || student), both softened by the temperature T (section 2).

    The defaults are those of the OFA and PAT tables: weight 1, T = 1.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        image_size: int,
        *,
        weight: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(student, teacher, image_size)
        self.weight, self.temperature = weight, temperature

    def forward(self, images: Tensor, targets: Tensor) -> Losses:
        logits = self.student(images)
        with torch.no_grad():
            teacher = self.teach(images)
        ce = cross_entropy(logits, targets)
        kd = kd_loss(logits, teacher, self.temperature)
        return {"loss": ce + self.weight * kd, "output": logits, "ce": ce.detach(), "kd": kd.detach()}

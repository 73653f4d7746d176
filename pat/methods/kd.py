"""Knowledge distillation of logits (Hinton, Vinyals & Dean 2015, arXiv 1503.02531)."""

from __future__ import annotations

from torch import Tensor, nn

from pat.losses import kd_loss
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Task


@register_method
class KD(Method):
    """L = L_CE + weight * T^2 KL(teacher || student), both softened by the temperature T (section 2).

    The defaults are those of the OFA and PAT tables: weight 1, T = 1.
    """

    tasks = ()
    couples_samples = False

    def __init__(
        self, student: nn.Module, teacher: nn.Module, task: Task, *, weight: float = 1.0, temperature: float = 1.0
    ) -> None:
        super().__init__(student, teacher, task)
        self.weight, self.temperature = weight, temperature

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets)
        told = self.told(images, seen)
        kd = seen.over_all(kd_loss(seen.logits, told.logits, self.temperature))
        return self.result(seen, targets, kd=(self.weight, kd))

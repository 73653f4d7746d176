"""Knowledge distillation of logits (Hinton, Vinyals & Dean 2015, arXiv 1503.02531)."""

from __future__ import annotations

from torch import Tensor, nn

from pat.losses import kd_loss, standardise
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Task


@register_method
class KD(Method):
    """L = L_CE + weight * T^2 KL(teacher || student), both softened by the temperature T (section 2).

    The defaults are those of the OFA and PAT tables: weight 1, T = 1. `standardise`: both sides' logits are replaced
    by their z-scores over the classes (logit standardisation, Sun et al. 2024, arXiv 2403.01427, algorithm 1; its
    public code divides by C - 1, not C, and has weight 9, T = 2).
    """

    tasks = ()
    couples_samples = False

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        weight: float = 1.0,
        temperature: float = 1.0,
        standardise: bool = False,
    ) -> None:
        super().__init__(student, teacher, task)
        self.weight, self.temperature, self.standardise = weight, temperature, standardise

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets)
        told = self.told(images, seen)
        student, teacher = (standardise(x.logits) if self.standardise else x.logits for x in (seen, told))
        kd = seen.over_all(kd_loss(student, teacher, self.temperature))
        return self.result(seen, targets, kd=(self.weight, kd))

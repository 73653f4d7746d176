"""Normalised knowledge distillation (NKD, Yang et al. 2023, arXiv 2303.13005)."""

from __future__ import annotations

from torch import Tensor, nn

from pat.losses import nkd_loss, standardise
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Task


@register_method
class NKD(Method):
    """L = L_CE + weight * L_NKD: the teacher's probability of the target class weighs the student's cross entropy
    there, and `gamma` a cross entropy among all other classes, normalised on both sides.

    The temperature softens the others alone. The target of a mixed image is the class of its larger share, as in the
    public code, whose defaults these are (weight 1, gamma 1.5, T = 1). `standardise`: logits are replaced by their
    z-scores over the classes (logit standardisation, see `kd`).
    """

    couples_samples = False

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        weight: float = 1.0,
        gamma: float = 1.5,
        temperature: float = 1.0,
        standardise: bool = False,
    ) -> None:
        super().__init__(student, teacher, task)
        self.weight, self.gamma, self.temperature, self.standardise = weight, gamma, temperature, standardise

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets)
        told = self.told(images, seen)
        student, teacher = (standardise(x.logits) if self.standardise else x.logits for x in (seen, told))
        nkd = nkd_loss(student, teacher, self.task.classes(seen, targets), self.gamma, self.temperature)
        return self.result(seen, targets, nkd=(self.weight, nkd))

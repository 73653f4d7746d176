"""Decoupled knowledge distillation (DKD, Zhao et al. 2022, arXiv 2203.08679)."""

from __future__ import annotations

from torch import Tensor, nn

from pat.losses import dkd_loss, standardise
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Task


@register_method
class DKD(Method):
    """L = L_CE + weight * (alpha L_TCKD + beta L_NCKD), equation 7.

    TCKD compares the share of the target class, NCKD the distribution over the others. The target of a mixed image is
    the class of its larger share. The defaults are those of the OFA and PAT tables: alpha 1, beta 2, T = 1.
    `standardise`: logits are replaced by their z-scores over the classes (logit standardisation, see `kd`).
    """

    couples_samples = False

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        weight: float = 1.0,
        alpha: float = 1.0,
        beta: float = 2.0,
        temperature: float = 1.0,
        standardise: bool = False,
    ) -> None:
        super().__init__(student, teacher, task)
        self.weight, self.alpha, self.beta = weight, alpha, beta
        self.temperature, self.standardise = temperature, standardise

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets)
        told = self.told(images, seen)
        student, teacher = (standardise(x.logits) if self.standardise else x.logits for x in (seen, told))
        dkd = dkd_loss(student, teacher, self.task.classes(seen, targets), self.alpha, self.beta, self.temperature)
        return self.result(seen, targets, dkd=(self.weight, dkd))

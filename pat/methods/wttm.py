"""Weighted transformed teacher matching (WTTM and TTM, Zheng & Yang 2024, arXiv 2402.11148)."""

from __future__ import annotations

from torch import Tensor, nn

from pat.losses import ttm_loss
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Task


@register_method
class WTTM(Method):
    """L = L_CE + weight * mean of w KL(p^gamma / w || student), p the teacher's probabilities, w = sum p^gamma.

    `gamma` is one over the teacher's temperature; the student has none. `weighted=False` is TTM: each image counts 1.
    Labels play no part in it, so mixed images are images like others. Weight and gamma differ from pair to pair in
    the paper; the defaults are those with which its public code shows WTTM (for TTM it shows 45 and 0.1).
    """

    couples_samples = False

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        weight: float = 4.0,
        gamma: float = 0.2,
        weighted: bool = True,
    ) -> None:
        super().__init__(student, teacher, task)
        self.weight, self.gamma, self.weighted = weight, gamma, weighted

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets)
        told = self.told(images, seen)
        wttm = ttm_loss(seen.logits, told.logits, self.gamma, self.weighted)
        return self.result(seen, targets, wttm=(self.weight, wttm))

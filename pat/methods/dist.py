"""Distillation from a stronger teacher by correlations (DIST, Huang et al. 2022, arXiv 2205.10536)."""

from __future__ import annotations

from torch import Tensor, nn

from pat.gather import gather_batch
from pat.losses import dist_loss
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Task


@register_method
class DIST(Method):
    """L = L_CE + weight * (beta L_inter + gamma L_intra), equation 10.

    L_inter: one minus the correlation of the probabilities over the classes, image by image. L_intra: over the images
    of the global batch, class by class. The defaults are those of the OFA and PAT tables: all 1, T = 1.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        weight: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(student, teacher, task)
        self.weight, self.beta, self.gamma, self.temperature = weight, beta, gamma, temperature

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets)
        teacher = gather_batch(self.told(images, seen).logits)
        dist = dist_loss(gather_batch(seen.logits), teacher, self.beta, self.gamma, self.temperature)
        return self.result(seen, targets, dist=(self.weight, dist))

"""Universal self-knowledge distillation (USKD, Yang et al. 2023, arXiv 2303.13005): soft labels without a teacher."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pat.gather import gather_batch
from pat.losses import self_distillation_losses
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Task


@register_method
class USKD(Method):
    """L = L_CE + alpha * L_target + beta * L_others + weak_weight * L_weak: how far soft labels alone lead.

    The target's soft label is the student's own, smoothed over the batch (the global one); those of the other classes
    fall by their rank (Zipf's law), which a weak linear classifier on the last stage but one, averaged over its
    positions, helps to find and which it learns beside. A mixed image has two targets, each with its share. The
    defaults are those of the public code. That code ranks the targets among the other classes, and takes a ViT's class
    token for the weak classifier.
    """

    teacherless = True

    def __init__(
        self,
        student: nn.Module,
        teacher: None,
        task: Task,
        *,
        alpha: float = 1.0,
        beta: float = 0.1,
        weak_weight: float = 0.005,
    ) -> None:
        super().__init__(student, teacher, task)
        self.alpha, self.beta, self.weak_weight = alpha, beta, weak_weight
        self.taps = task.taps(student)
        self.weak = nn.Linear(self.taps.stages[-2].channels, task.num_classes)

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets, self.taps)
        weak = self.weak(seen.maps[-2].mean((2, 3)))
        shares = targets if targets.ndim == 2 else F.one_hot(targets, self.task.num_classes).float()
        own, others, of_weak = self_distillation_losses(*(gather_batch(x) for x in (seen.logits, weak, shares)))
        return self.result(
            seen,
            targets,
            target=(self.alpha, own),
            others=(self.beta, others),
            weak=(self.weak_weight, of_weak),
        )

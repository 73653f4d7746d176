"""Refined logit distillation (RLD, Sun et al. 2024, arXiv 2408.07703)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pat.losses import confidence_loss, masked_correlation_loss
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Task


@register_method
class RLD(Method):
    """L = L_CE + alpha L_SCD + beta L_MCD: nothing that the teacher says against the label is passed on.

    SCD compares how sure the teacher is of its surest class with how sure the student is of the true one, MCD the
    classes that the teacher holds for less likely than the true one. The true class of a mixed image is that of its
    larger share. Both weights rise in equal steps over the first `warmup` epochs, where the training loop tells the
    epoch (`begin_epoch`). The defaults are those of the public code for 240 epochs of CIFAR-100.
    """

    couples_samples = False
    ramp: Tensor

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        alpha: float = 1.0,
        beta: float = 8.0,
        confidence_temperature: float = 1.0,
        temperature: float = 4.0,
        warmup: int = 20,
    ) -> None:
        super().__init__(student, teacher, task)
        self.alpha, self.beta, self.warmup = alpha, beta, warmup
        self.confidence_temperature, self.temperature = confidence_temperature, temperature
        self.register_buffer("ramp", torch.ones(()), persistent=False)

    def begin_epoch(self, epoch: int) -> None:
        self.ramp.fill_(min(1.0, (epoch + 1) / max(1, self.warmup)))

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets)
        told = self.told(images, seen)
        logits, labels = (seen.logits, told.logits), self.task.classes(seen, targets)
        confidence = self.ramp * confidence_loss(*logits, labels, self.confidence_temperature)
        correlation = self.ramp * masked_correlation_loss(*logits, labels, self.temperature)
        return self.result(seen, targets, confidence=(self.alpha, confidence), correlation=(self.beta, correlation))

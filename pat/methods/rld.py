"""Refined logit distillation (RLD, Sun et al. 2024, arXiv 2408.07703)."""

from __future__ import annotations

from torch import Tensor, nn

from pat.clock import WarmUp
from pat.losses import confidence_loss, masked_correlation_loss
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Task


@register_method
class RLD(Method):
    """L = L_CE + alpha L_SCD + beta L_MCD: nothing that the teacher says against the label is passed on.

    SCD compares how sure the teacher is of its surest class with how sure the student is of the true one, MCD the
    classes that the teacher holds for less likely than the true one. The true class of a mixed image is that of its
    larger share. Both weights rise in equal steps over the first `warmup_epochs`, where the training loop tells the
    epoch (`begin_epoch`). The defaults are those of the public code for 240 epochs of CIFAR-100.
    """

    couples_samples = False

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
        warmup_epochs: int = 20,
    ) -> None:
        super().__init__(student, teacher, task)
        self.alpha, self.beta, self.warmup = alpha, beta, WarmUp(warmup_epochs)
        self.confidence_temperature, self.temperature = confidence_temperature, temperature

    def begin_epoch(self, epoch: int) -> None:
        self.warmup.begin(epoch)

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets)
        told = self.told(images, seen)
        logits, labels = (seen.logits, told.logits), self.task.classes(seen, targets)
        confidence = self.warmup.factor * confidence_loss(*logits, labels, self.confidence_temperature)
        correlation = self.warmup.factor * masked_correlation_loss(*logits, labels, self.temperature)
        return self.result(seen, targets, confidence=(self.alpha, confidence), correlation=(self.beta, correlation))

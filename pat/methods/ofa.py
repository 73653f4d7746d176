"""One-for-all distillation of logits from every stage (OFA-KD, Hao et al. 2023, arXiv 2310.19444)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pat.embedding import Embedding
from pat.errors import check_choice
from pat.heads import stage_head
from pat.losses import ofa_loss
from pat.methods.base import Losses, Method, register_method
from pat.models import family_of
from pat.tasks import Task

HEADS = ("plain", "published")


@register_method
class OFA(Method):
    """L = L_CE + kd_weight * L_OFA(logits) + weight * sum over stages of L_OFA(head of the stage), equations 5 to 7.

    Every stage of the student gets a head of its own that ends in the logits' space: convolutions for a CNN, tokens
    for a ViT or an MLP. `epsilon` modulates the target class. `heads`: "plain" (convolutions merge patches, torch's
    initial weights) or "published" (LayerNorm and a linear map merge them, never below the final grid, and weights
    begin as in the public code). The defaults are those of the published code; the authors' corrections for single
    pairs are named settings (`sweeps.published`). Soft targets (mixup): the target class is the larger share's.
    """

    couples_samples = False

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        weight: float = 1.0,
        kd_weight: float = 1.0,
        epsilon: float = 1.0,
        temperature: float = 1.0,
        heads: str = "plain",
    ) -> None:
        super().__init__(student, teacher, task)
        check_choice("heads", heads, HEADS)
        self.weight, self.kd_weight, self.epsilon, self.temperature = weight, kd_weight, epsilon, temperature
        self.student_taps = task.taps(student)
        convolutional = family_of(student) == "cnn"
        sizes = ((student, task.canvas), (teacher, task.for_teacher.canvas))
        widths = [Embedding(model, size).dim for model, size in sizes]
        width = max(widths) if convolutional else widths[0]
        stages, classes = self.student_taps.stages, int(student.num_classes)  # type: ignore[arg-type]
        self.heads = nn.ModuleList(
            stage_head(
                stage.channels, stage.size, len(stages) - place, width, classes, convolutional, heads == "published"
            )
            for place, stage in enumerate(stages, start=1)
        )

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets, self.student_taps)
        told = self.told(images, seen)
        labels = self.task.classes(seen, targets)
        final, *staged = (
            ofa_loss(logits, told.logits, labels, self.epsilon, self.temperature)
            for logits in (seen.logits, *(head(x) for head, x in zip(self.heads, seen.maps, strict=True)))
        )
        ofa = torch.stack(staged).sum()
        return self.result(seen, targets, kd=(self.kd_weight, final), ofa=(self.weight, ofa))

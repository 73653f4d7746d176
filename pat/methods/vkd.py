"""Distillation of features through an orthogonal projection (VkD, Miles et al. 2024, arXiv 2403.06213)."""

from __future__ import annotations

from torch import Tensor, nn

from pat.align import OrthogonalProjection
from pat.embedding import Embedding
from pat.losses import kd_loss, normalised_feature_loss
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Seen, Task


@register_method
class VKD(Method):
    """L = L_CE + weight * smooth L1 of (the student's projected features, the teacher's normalised) + kd_weight L_KL.

    The projection of the pooled features is orthogonal at every step. The teacher's features are normalised image by
    image (LayerNorm without weights). Labels play no part in either term, so mixed images are images like others. The
    defaults are those of the public code (all 1, T = 1), whose KL is that of a distillation token's own head, where
    here it is that of the logits.
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
        temperature: float = 1.0,
    ) -> None:
        super().__init__(student, teacher, task)
        self.weight, self.kd_weight, self.temperature = weight, kd_weight, temperature
        self.student_embedding = Embedding(student, task.canvas)
        self.teacher_embedding = Embedding(teacher, task.for_teacher.canvas)
        self.project = OrthogonalProjection(self.student_embedding.dim, self.teacher_embedding.dim)

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        logits, features = self.student_embedding(images)
        ((told, teacher),) = self.ask(self.for_teacher(images), self.teacher_embedding)
        projected = self.project(features)
        return self.result(
            Seen(logits),
            targets,
            feature=(self.weight, normalised_feature_loss(projected, teacher)),
            kd=(self.kd_weight, kd_loss(logits, told, self.temperature)),
        )

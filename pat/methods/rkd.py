"""Relational knowledge distillation (RKD, Park et al. 2019, arXiv 1904.05068)."""

from __future__ import annotations

from torch import Tensor, nn

from pat.embedding import Embedding
from pat.gather import gather_batch
from pat.losses import rkd_angle_loss, rkd_distance_loss
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Seen, Task


@register_method
class RKD(Method):
    """L = L_CE + distance_weight L_RKD-D + angle_weight L_RKD-A (equations 8 and 10) on the pooled features.

    Relations are those of the global batch; the widths of the two models need not agree. A weight of 0 switches its
    part off. The defaults (25 and 50) are those of the paper's section 4.2 and of the OFA and PAT tables.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
    ) -> None:
        super().__init__(student, teacher, task)
        self.distance_weight, self.angle_weight = distance_weight, angle_weight
        self.student_embedding = Embedding(student, task.canvas)
        self.teacher_embedding = Embedding(teacher, task.for_teacher.canvas)

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        logits, features = self.student_embedding(images)
        ((_, told),) = self.ask(self.for_teacher(images), self.teacher_embedding)
        teacher = gather_batch(told.float())
        features = gather_batch(features.float())
        losses = {"distance": (self.distance_weight, rkd_distance_loss), "angle": (self.angle_weight, rkd_angle_loss)}
        parts = {name: (weight, loss(features, teacher)) for name, (weight, loss) in losses.items() if weight}
        return self.result(Seen(logits), targets, **parts)

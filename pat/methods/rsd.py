"""Redundancy suppression distillation (RSD, Zhang et al. 2025, arXiv 2507.21844), between any two families."""

from __future__ import annotations

from torch import Tensor, nn

from pat.embedding import Embedding
from pat.gather import gather_batch
from pat.losses import redundancy_loss
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Seen, Task


@register_method
class RSD(Method):
    """L = L_CE + weight * L_RSD: the correlations of the student's projected and the teacher's pooled features over
    the batch are to be the identity; those off the diagonal count `kappa`.

    The student's features pass the paper's decoupling module (linear, BatchNorm, GELU, linear; `expansion` times as
    wide within), so that they need not become the teacher's themselves. Everything is computed over the global batch;
    labels play no part in it, so mixed images are images like others.

    The paper calls both weights sensitive and was not to be read for their values: the defaults are those of its
    authors' public code (0.1, 0.01, twice as wide, sums over all pairs of features), and the search space goes a factor
    of 30 beyond them to both sides. That code correlates the batch of one GPU, and adds 1e-5 to each deviation.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        weight: float = 0.1,
        kappa: float = 0.01,
        expansion: int = 2,
    ) -> None:
        super().__init__(student, teacher, task)
        self.weight, self.kappa = weight, kappa
        self.student_embedding = Embedding(student, task.canvas)
        self.teacher_embedding = Embedding(teacher, task.for_teacher.canvas)
        dim, width = self.student_embedding.dim, expansion * self.student_embedding.dim
        widen, narrow = nn.Linear(dim, width, bias=False), nn.Linear(width, self.teacher_embedding.dim, bias=False)
        for layer in (widen, narrow):
            nn.init.trunc_normal_(layer.weight, std=0.02)
        self.decouple = nn.Sequential(widen, nn.BatchNorm1d(width), nn.GELU(), narrow)

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        logits, features = self.student_embedding(images)
        ((_, told),) = self.ask(self.for_teacher(images), self.teacher_embedding)
        teacher = gather_batch(told.float())
        projected = self.decouple(gather_batch(features.float()))
        return self.result(Seen(logits), targets, rsd=(self.weight, redundancy_loss(projected, teacher, self.kappa)))

"""Correlation congruence (CC, Peng et al. 2019, arXiv 1904.01802)."""

from __future__ import annotations

from torch import Tensor, nn

from pat.config import ConfigError
from pat.embedding import Embedding
from pat.gather import gather_batch
from pat.losses import correlation_loss, kernel_correlation_loss
from pat.methods.base import Losses, Method, register_method
from pat.tasks import Seen, Task

FORMS = {"adjacent": correlation_loss, "kernel": kernel_correlation_loss}


@register_method
class CC(Method):
    """L = L_CE + weight * L_CC between linear embeddings of the pooled features, over the global batch.

    `form`: "adjacent", the products of neighbouring differences that the public code of the tables computes, or
    "kernel", the paper's correlation matrices (equations 4 to 8: Gaussian kernel, Taylor series of order 2, gamma 0.4;
    the paper weighs them with 0.003). The defaults are those of the OFA and PAT tables: weight 0.02, 128 dimensions.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        weight: float = 0.02,
        dim: int = 128,
        form: str = "adjacent",
    ) -> None:
        super().__init__(student, teacher, task)
        if form not in FORMS:
            raise ConfigError(f"form = {form!r}: one of {', '.join(FORMS)}")
        self.weight, self.form = weight, form
        self.student_embedding = Embedding(student, task.canvas)
        self.teacher_embedding = Embedding(teacher, task.for_teacher.canvas)
        self.embed_student = nn.Linear(self.student_embedding.dim, dim)
        self.embed_teacher = nn.Linear(self.teacher_embedding.dim, dim)

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        logits, features = self.student_embedding(images)
        ((_, teacher),) = self.ask(self.for_teacher(images), self.teacher_embedding)
        seen = gather_batch(self.embed_student(features).float())
        cc = FORMS[self.form](seen, gather_batch(self.embed_teacher(teacher).float()))
        return self.result(Seen(logits), targets, cc=(self.weight, cc))

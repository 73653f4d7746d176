"""Fuse before transfer (FBT, Li et al. 2025, ICCV, arXiv 2410.12342): an assistant of both models' stages."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn

from pat.config import ConfigError
from pat.embedding import Embedding
from pat.gather import gather_batch
from pat.losses import info_nce_loss, ofa_loss
from pat.methods.base import Losses, Method, register_method
from pat.models import locality
from pat.suffix import Suffix
from pat.tasks import Task
from pat.tasks.base import Shape

ORDERS = ("auto", "student-teacher", "teacher-student")
LEAST_TEMPERATURE = 0.01
"""CLIP's."""
HEAD_DIM, WINDOW = 32, 7
"""Those of Swin's attention: channels of a head, tokens along a side of a window."""


@register_method
class FBT(Method):
    """L = L_CE + the three links L(K_t, K_s) + L(K_t, K_f) + L(K_f, K_s) of teacher t, assistant f and student s, each
    times its weight; a weight of 0 removes a link.

    The assistant has all stages but the last of one model, a projector from local to global (L2G), and the last stage
    and the head of the other; the weights are theirs, L2G's alone are new. Each link is InfoNCE of pooled features,
    with a temperature that is learnt, plus OFA-KD's loss of logits, whose target is the link's first.

    Options:
        order: whose stages come first. "auto": those of a CNN, before attention and MLPs (the paper); of two of a kind
            the student's (the paper, within a family); of others those of the model with more convolution in it.
            "student-teacher" and "teacher-student" say it.
        dim, temperature: width of the features' projections, one for each model, and the first temperature.
        epsilon: OFA-KD's modulation of the target class.
        detach_assistant: whether the student's link with the assistant teaches the student alone.

    The paper states no values for these, so that they are ours, as are: InfoNCE both ways (CLIP's), and class tokens
    of L2G, which are its mean token and something learnt. Negatives are the other images of the global batch, which
    the loss therefore depends on. Mixed images count as the class of their larger share in OFA-KD's part. In the
    assistant's pass running statistics are read and not moved. `assistant_top1`: its accuracy on the batch, in percent.
    """

    extra_passes = True

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        order: str = "auto",
        teacher_student_weight: float = 1.0,
        teacher_assistant_weight: float = 1.0,
        assistant_student_weight: float = 1.0,
        dim: int = 128,
        temperature: float = 0.07,
        epsilon: float = 1.0,
        detach_assistant: bool = False,
    ) -> None:
        super().__init__(student, teacher, task)
        if order not in ORDERS:
            raise ConfigError(f"order = {order!r}: one of {', '.join(ORDERS)}")
        if temperature < LEAST_TEMPERATURE:
            raise ConfigError(f"temperature = {temperature}: at least {LEAST_TEMPERATURE}, below which it never falls")
        self.teacher_student_weight, self.teacher_assistant_weight = teacher_student_weight, teacher_assistant_weight
        self.assistant_student_weight, self.epsilon = assistant_student_weight, epsilon
        self.detach_assistant = detach_assistant
        self.unused_parameters = not (
            (teacher_student_weight or assistant_student_weight)
            and (teacher_student_weight or teacher_assistant_weight)
            and (teacher_assistant_weight or (assistant_student_weight and not detach_assistant))
        )
        self.student_taps, self.teacher_taps = task.taps(student), task.for_teacher.taps(teacher)
        self.student_embedding = Embedding(student, task.canvas)
        self.teacher_embedding = Embedding(teacher, task.for_teacher.canvas)
        auto = locality(student) >= locality(teacher)
        self.student_first = order == "student-teacher" or (order == "auto" and auto)
        sides = (self.student_taps, self.student_embedding), (self.teacher_taps, self.teacher_embedding)
        (first, _), last = sides if self.student_first else sides[::-1]
        self.suffix = Suffix(*last)
        self.bridge = LocalToGlobal(first.stages[-2].channels, self.suffix.shape, self.suffix.prefix_tokens)
        self.project_student = nn.Linear(self.student_embedding.dim, dim)
        self.project_teacher = nn.Linear(self.teacher_embedding.dim, dim)
        self.project_assistant = nn.Linear(self.suffix.embedding.dim, dim)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        if self.training:
            with torch.no_grad():  # after every step, as CLIP does; so it can rise again
                self.log_scale.clamp_(max=-math.log(LEAST_TEMPERATURE))
        seen, own = self.student_embedding.during(lambda: self.see(images, targets, self.student_taps))
        given = self.for_teacher(images)
        (_, features), tapped = self.ask(given, self.teacher_embedding, self.teacher_taps)
        told = self.judge(given, seen, tapped)
        fused, mixed = self.suffix(*self.bridge((seen if self.student_first else told).maps[-2]))
        labels = self.task.classes(seen, targets)
        student = _Knowledge(seen.logits, gather_batch(self.project_student(own).float()))
        teacher = _Knowledge(told.logits, gather_batch(self.project_teacher(features).float()))
        assistant = _Knowledge(fused, gather_batch(self.project_assistant(mixed).float()))
        shown = assistant.detached() if self.detach_assistant else assistant
        links = {
            "teacher_student": (self.teacher_student_weight, teacher, student),
            "teacher_assistant": (self.teacher_assistant_weight, teacher, assistant),
            "assistant_student": (self.assistant_student_weight, shown, student),
        }
        parts = {
            name: (weight, self._link(source, target, labels))
            for name, (weight, source, target) in links.items()
            if weight
        }
        hits = fused.argmax(1) == labels
        return {**self.result(seen, targets, **parts), "assistant_top1": 100 * hits.float().mean()}

    def _link(self, source: _Knowledge, target: _Knowledge, labels: Tensor) -> Tensor:
        """L(K_source, K_target): the images of the global batch told apart, and the source's logits learnt."""
        contrast = info_nce_loss(target.features, source.features, self.log_scale.exp())
        return contrast + ofa_loss(target.logits, source.logits, labels, self.epsilon, temperature=1.0)


@dataclass(frozen=True)
class _Knowledge:
    """What a model knows of a batch: logits [B, C] of this worker's images, projected features [B, D] of all."""

    logits: Tensor
    features: Tensor

    def detached(self) -> _Knowledge:
        return _Knowledge(self.logits.detach(), self.features.detach())


class LocalToGlobal(nn.Module):
    """L2G: a map [B, channels, h, w] -> the map [B, *shape] and `prefix` tokens [B, prefix, C] that enter a stage.

    A patch embedding onto the stage's grid (averages where it is coarser, bilinear where it is finer) and one block of
    Swin's attention. No tokens are None.
    """

    def __init__(self, channels: int, shape: Shape, prefix: int) -> None:
        super().__init__()
        width, self.size = shape[0], shape[1:]
        heads = next(count for count in range(max(1, width // HEAD_DIM), 0, -1) if width % count == 0)
        self.embed = nn.Conv2d(channels, width, kernel_size=1)
        self.block = SwinTransformerBlock(width, self.size, heads, window_size=WINDOW, dynamic_mask=True)
        self.tokens = nn.Parameter(torch.randn(prefix, width) * 0.02) if prefix else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        coarser = (min(x.shape[2], self.size[0]), min(x.shape[3], self.size[1]))
        x = self.embed(F.adaptive_avg_pool2d(x, coarser))
        if coarser != self.size:
            x = F.interpolate(x, self.size, mode="bilinear")
        x = self.block(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        tokens = None if self.tokens is None else x.mean((2, 3))[:, None] + self.tokens
        return x, tokens

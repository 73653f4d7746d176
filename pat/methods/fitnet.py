"""Hints from the maps of every stage (FitNets, Romero et al. 2015, arXiv 1412.6550), between any two families."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pat.align import Aligner, pair_stages
from pat.losses import hint_loss, kd_loss
from pat.methods.base import Losses, Method, Task, register_method
from pat.taps import StageTaps


@register_method
class FitNet(Method):
    """L = L_CE + weight * sum over stages of L_hint (equation 3) + kd_weight * L_KL, trained in one go.

    The student's maps go through an aligner into the shape of the teacher's; stages are paired from the last one
    backwards. The defaults are those of the OFA and PAT tables (four stages, no KD, though the code published with PAT
    adds KD of weight 1 to its FitNet: `kd_weight=1.0`).
    """

    couples_samples = False

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        weight: float = 1.0,
        kd_weight: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(student, teacher, task)
        self.weight, self.kd_weight, self.temperature = weight, kd_weight, temperature
        self.student_taps, self.teacher_taps = (StageTaps(model, task.image_size) for model in (student, teacher))
        targets = self.teacher_taps.stages
        sources = pair_stages(self.student_taps.stages, len(targets))
        self.align = nn.ModuleList(
            Aligner(source.channels, target.channels, target.size)
            for source, target in zip(sources, targets, strict=True)
        )

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        student = self.student_taps(images)
        with torch.no_grad():
            teacher = self.teacher_taps(self.for_teacher(images))
        maps = pair_stages(student.maps, len(self.align))
        hints = [
            hint_loss(align(seen), target) for align, seen, target in zip(self.align, maps, teacher.maps, strict=True)
        ]
        parts = {"hint": (self.weight, torch.stack(hints).sum())}
        if self.kd_weight:
            parts["kd"] = (self.kd_weight, kd_loss(student.logits, teacher.logits, self.temperature))
        return self.result(student.logits, targets, **parts)

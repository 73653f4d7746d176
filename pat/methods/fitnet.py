"""Hints from the maps of every stage (FitNets, Romero et al. 2015, arXiv 1412.6550), between any two families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pat.align import Aligner, Aligners, PatchAligner, Shape
from pat.errors import check_choice
from pat.losses import NORMS, hint_loss, kd_loss, over_stages
from pat.methods.base import Losses, Method, Parts, register_method
from pat.moments import Asked, all_moments
from pat.tasks import Seen, Task

ALIGNERS: dict[str, Callable[[Shape, Shape], nn.Module]] = {
    "nearest": lambda source, target: Aligner(source[0], target[0]),
    "published": PatchAligner,
}


@register_method
class FitNet(Method):
    """L = L_CE + weight * sum over stages of L_hint (equation 3) + kd_weight * L_KL, trained in one go.

    The student's maps go through an aligner into the shape of the teacher's; they are paired from the last one
    backwards. Where maps have one shape (the levels of a pyramid) they are compared as they are. The defaults are
    those of the OFA and PAT tables (four stages, no KD, though the code published with PAT adds KD of weight 1 to its
    FitNet: `kd_weight=1.0`).

    `aligner`: "nearest" (BatchNorm, 1x1 convolution and nearest resize) or "published" (that of the code published
    with PAT: patches embedded or unfolded, no BatchNorm, its initial weights). `feature_norm`: "none", or "variance":
    the mean over the stages of each hint over the variance of the teacher's map, which couples images. Soft targets
    (mixup) enter L_CE alone.
    """

    tasks = ()
    couples_samples = False

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        project: Callable[[Sequence[Shape], Sequence[Shape], bool], nn.Module] | None = None,
        distance: Callable[[Tensor, Tensor], Tensor] = hint_loss,
        *,
        weight: float = 1.0,
        kd_weight: float = 0.0,
        temperature: float = 1.0,
        aligner: str = "nearest",
        feature_norm: str = "none",
    ) -> None:
        """`project` and `distance`: for methods that are this one with other projectors, or another loss of maps."""
        super().__init__(student, teacher, task)
        check_choice("aligner", aligner, ALIGNERS)
        check_choice("feature_norm", feature_norm, NORMS)
        self.weight, self.kd_weight, self.temperature, self.distance = weight, kd_weight, temperature, distance
        self.feature_norm = feature_norm
        self.couples_samples = feature_norm != "none"
        self.student_taps, self.teacher_taps = task.taps(student), task.for_teacher.taps(teacher)
        levels = task.levels(self.student_taps), task.levels(self.teacher_taps)
        self.align: Any = (project or partial(Aligners, build=ALIGNERS[aligner]))(*levels, task.common_maps)

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets, self.student_taps)
        told = self.told(images, seen, self.teacher_taps)
        parts = self.compared(self.align(seen.maps, told.maps), told, indices)
        if self.kd_weight:
            parts["kd"] = (self.kd_weight, seen.over_all(kd_loss(seen.logits, told.logits, self.temperature)))
        return self.result(seen, targets, **parts)

    def compared(self, aligned: Sequence[Tensor], told: Seen, indices: Tensor | None) -> Parts:
        """The parts of the loss that are of maps, the student's `aligned` with the teacher's; `indices` as in
        `forward`."""
        given = self.align.targets(told.maps)
        hints = [*map(self.distance, told.shown(aligned), told.shown(given))]
        return {"hint": (self.weight, over_stages(hints, self._spreads(told)))}

    @torch.no_grad()
    def _spreads(self, told: Seen) -> Sequence[Tensor]:
        """The variances of the teacher's maps, if hints are to be divided by them."""
        if self.feature_norm == "none":
            return ()
        asked = [Asked(x, told.valid[i] if told.valid else None, spread=True) for i, x in enumerate(told.maps)]
        return [found.spread for found in all_moments(asked)]

"""Hints from the maps of every stage (FitNets, Romero et al. 2015, arXiv 1412.6550), between any two families."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pat.align import Aligner, PatchAligner, Shape, pair_stages, resize
from pat.errors import check_choice
from pat.losses import NORMS, hint_loss, kd_loss, over_stages
from pat.methods.base import Losses, Method, register_method
from pat.moments import moments
from pat.tasks import Seen, Task

ALIGNERS = ("nearest", "published")


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
        *,
        weight: float = 1.0,
        kd_weight: float = 0.0,
        temperature: float = 1.0,
        aligner: str = "nearest",
        feature_norm: str = "none",
    ) -> None:
        super().__init__(student, teacher, task)
        check_choice("aligner", aligner, ALIGNERS)
        check_choice("feature_norm", feature_norm, NORMS)
        self.weight, self.kd_weight, self.temperature = weight, kd_weight, temperature
        self.feature_norm = feature_norm
        self.couples_samples = feature_norm != "none"
        self.student_taps, self.teacher_taps = (task.taps(model) for model in (student, teacher))
        targets = task.levels(self.teacher_taps)
        sources = pair_stages(task.levels(self.student_taps), len(targets))
        self.align = nn.ModuleList(
            nn.Identity() if task.common_maps else _aligner(aligner, source, target)
            for source, target in zip(sources, targets, strict=True)
        )

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets, self.student_taps)
        told = self.told(images, seen, self.teacher_taps)
        maps = pair_stages(seen.maps, len(self.align))
        aligned = [
            resize(align(x), target.shape[-2:]) for align, x, target in zip(self.align, maps, told.maps, strict=True)
        ]
        hints = [*map(hint_loss, told.shown(aligned), told.shown(told.maps))]
        parts = {"hint": (self.weight, over_stages(hints, self._spreads(told)))}
        if self.kd_weight:
            parts["kd"] = (self.kd_weight, seen.over_all(kd_loss(seen.logits, told.logits, self.temperature)))
        return self.result(seen, targets, **parts)

    @torch.no_grad()
    def _spreads(self, told: Seen) -> Sequence[Tensor]:
        """The variances of the teacher's maps, if hints are to be divided by them."""
        if self.feature_norm == "none":
            return ()
        return [moments(x, told.valid[i] if told.valid else None).spread for i, x in enumerate(told.maps)]


def _aligner(kind: str, source: Shape, target: Shape) -> nn.Module:
    return PatchAligner(source, target) if kind == "published" else Aligner(source[0], target[0])

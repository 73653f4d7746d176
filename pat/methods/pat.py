"""Perspective-Aware Teaching (PAT, ICCV 2025, arXiv 2501.08885), as the paper describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pat.align import Aligner, pair_stages, resize
from pat.attention import RegionAttention
from pat.config import ConfigError
from pat.losses import hcl_loss, kd_loss
from pat.methods.base import Losses, Method, register_method
from pat.prompts import PromptBlock
from pat.taps import Memory
from pat.tasks import Seen, Task

FEEDBACK = ("previous", "current", "none")


@register_method
class PAT(Method):
    """L = L_CE + kd_weight L_KL + feature_weight L_FD + regularisation_weight L_Reg (section 3.4).

    L_KL: student against the plain teacher. L_FD: the student's region-attended, aligned maps against the maps of the
    prompted teacher, which learns from it (the target is not detached). L_Reg: prompted against plain teacher.

    Options:
        prompt_depth: stages with a prompt in front, counted from the last one (all of them where there are fewer), or
            the stages themselves as a tuple (1 is the first).
        regions: total number of student regions N_q, or a count per stage.
        region_dim, heads: width and heads of the region attention.
        feedback: what a prompt is told of the student: "previous" (the paper: last step's aligned maps minus the
            prompted teacher's, of other images), "current" (this batch's, minus the plain teacher's) or "none". Where
            canvases vary, the previous step's maps are kept at the nominal size.

    Where there are more maps than stages (the levels of a feature pyramid), map i answers the prompt of stage i.
    """

    tasks = ()

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        prompt_depth: int | tuple[int, ...] = 4,
        regions: int | tuple[int, ...] = 64,
        region_dim: int = 512,
        heads: int = 8,
        kd_weight: float = 1.0,
        feature_weight: float = 1.0,
        regularisation_weight: float = 1.0,
        temperature: float = 1.0,
        feedback: str = "previous",
    ) -> None:
        super().__init__(student, teacher, task)
        if feedback not in FEEDBACK:
            raise ConfigError(f"feedback = {feedback!r}: one of {', '.join(FEEDBACK)}")
        self.kd_weight, self.feature_weight = kd_weight, feature_weight
        self.regularisation_weight, self.temperature, self.feedback = regularisation_weight, temperature, feedback
        self.student_taps, self.teacher_taps = (task.taps(model) for model in (student, teacher))
        self.attention = RegionAttention(task.levels(self.student_taps), regions, region_dim, heads)
        stages, levels = self.teacher_taps.stages, task.levels(self.teacher_taps)
        self.align = nn.ModuleList(Aligner(region_dim, level[0]) for level in levels)
        self.prompted_stages = prompted_stages(prompt_depth, len(stages))
        targets = {i: levels[i] for i in self.prompted_stages}
        self.prompts = nn.ModuleDict(
            {
                str(i): PromptBlock((stages[i].in_channels, *stages[i].in_size), target if feedback != "none" else None)
                for i, target in targets.items()
            }
        )
        if feedback == "previous":
            self.per_sample = tuple(f"feedback_{i}" for i in self.prompted_stages)
            for i, target in targets.items():
                self.register_buffer(f"feedback_{i}", torch.zeros(0, *target))

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets, self.student_taps)
        images = self.for_teacher(images, seen.sizes)
        with torch.no_grad():
            tapped, memory = self.teacher_taps.remember(images, min(self.prompted_stages, default=0))
            plain = self.judge(images, seen, tapped)
        aligned = self._aligned(seen.maps, plain.maps)
        prompted = self._prompted(images, seen, plain, memory, aligned) if self.prompted_stages else plain
        compared = zip(plain.shown(aligned), plain.shown(prompted.maps), strict=True)
        kd = kd_loss(seen.logits, plain.logits, self.temperature)
        regularisation = kd_loss(prompted.logits, plain.logits, temperature=1.0)
        losses = self.result(
            seen,
            targets,
            kd=(self.kd_weight, seen.over_all(kd)),
            feature=(self.feature_weight, torch.stack([hcl_loss(*pair) for pair in compared]).sum()),
            regularisation=(self.regularisation_weight, seen.over_all(regularisation)),
        )
        hits = prompted.logits.argmax(1) == self.task.classes(seen, targets)
        return {**losses, "prompted_top1": 100 * hits.float().mean()}

    def _aligned(self, maps: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
        """The student's regions in the shape of each of the teacher's maps, paired from the last one backwards."""
        regions = pair_stages(self.attention(maps), len(self.align))
        return [resize(align(x), to.shape[-2:]) for align, x, to in zip(self.align, regions, like, strict=True)]

    def _prompted(self, images: Tensor, seen: Seen, plain: Seen, memory: Memory, aligned: Sequence[Tensor]) -> Seen:
        """What the prompted teacher makes of the samples; below the first prompt all is taken from the plain pass."""
        told = self._feedback(plain.maps, aligned)
        prompts = {i: _Told(self.prompts[str(i)], told.get(i)) for i in self.prompted_stages}
        prompted = self.judge(images, seen, self.teacher_taps.prompted(images, prompts, memory))
        if self.feedback == "previous" and self.training:
            for i in self.prompted_stages:
                last = getattr(self, f"feedback_{i}")
                told_next = resize((aligned[i] - prompted.maps[i]).detach().float(), last.shape[-2:])
                setattr(self, f"feedback_{i}", told_next)
        return prompted

    def _feedback(self, plain: Sequence[Tensor], aligned: Sequence[Tensor]) -> Mapping[int, Tensor]:
        """Feedback map of each prompted stage for this batch; samples beyond the previous batch's get zeros."""
        if self.feedback == "current":
            return {i: (aligned[i] - plain[i]).detach() for i in self.prompted_stages}
        if self.feedback == "none":
            return {}
        told = {}
        for i in self.prompted_stages:
            last = getattr(self, f"feedback_{i}")
            missing = max(0, len(plain[i]) - len(last))
            told[i] = torch.cat([last[: len(plain[i])], last.new_zeros(missing, *last.shape[1:])])
        return told

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Feedback has as many rows as the batch that left it: take the checkpoint's shape before its values."""
        for name in self.per_sample:
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(saved, device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *args)


class _Told:
    """A prompt block with its feedback filled in."""

    def __init__(self, block: nn.Module, feedback: Tensor | None) -> None:
        self.block, self.feedback = block, feedback

    def __call__(self, x: Tensor) -> Tensor:
        return self.block(x, self.feedback)


def prompted_stages(depth: int | Sequence[int], stages: int) -> tuple[int, ...]:
    """Indices (0 is the first stage) of the stages that get a prompt. ConfigError for a depth that cannot be."""
    if isinstance(depth, int):
        if not 0 <= depth <= 4:
            raise ConfigError(f"prompt_depth = {depth!r}: 0 to 4 stages, or a tuple of stages")
        return tuple(range(max(0, stages - depth), stages))
    if not depth or len(set(depth)) != len(depth) or not all(1 <= stage <= stages for stage in depth):
        raise ConfigError(f"prompt_depth = {depth!r}: different stages from 1 to {stages}")
    return tuple(sorted(stage - 1 for stage in depth))

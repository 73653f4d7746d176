"""Perspective-Aware Teaching (PAT, ICCV 2025, arXiv 2501.08885), as the paper describes it, and what makes it gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pat.align import Aligner, TokenAligner, pair_stages, resize
from pat.attention import RegionAttention
from pat.config import ConfigError
from pat.errors import check_choice
from pat.gather import gather_batch
from pat.groups import Group
from pat.hints import Hints
from pat.losses import NORMS, dist_loss, hcl_loss, kd_loss, over_stages
from pat.methods.base import Losses, Method, register_method
from pat.models import family_of
from pat.prompts import PromptBlock, Told, chosen_stages
from pat.taps import Memory
from pat.targets import Compared, compare
from pat.tasks import Seen, Task

FEEDBACK = ("previous", "current", "none")
ALIGNERS = ("nearest", "published")
SIZES = ("teacher", "regions")
LOGIT_LOSSES = ("kl", "dist")
BALANCED = {"feature_norm": "variance", "feature_weight": 0.1}
RELATIONAL = {**BALANCED, "logit_loss": "dist"}


@register_method
class PAT(Method):
    """The paper's L_CE + kd_weight L_KL + feature_weight L_FD + regularisation_weight L_Reg, and two parts of ours.

    L is all that + drift_weight L_Drift + hint_weight L_Hint. Section 3.4. L_KL: student against the plain teacher (or
    `logit_loss`). L_FD: the student's region-attended, aligned maps against the maps of the prompted teacher, which
    learns from it (the target is not detached). L_Reg: prompted against plain teacher. L_Drift: mean over the stages of
    the mean square of prompted minus plain map over the plain map's variance. L_Hint: the student's own maps against
    the plain teacher's (`pat.hints`), since what L_FD teaches may stay in the attention and the aligners, which are
    thrown away. Prompts that learn from hints, too, give their target up: half to nine tenths of its variance.

    Options:
        variant: "paper", or other defaults for some of what follows: "balanced" without the harm that the paper's do
            to small studies, "relational" with the logits compared as DIST does, too, "hinted" (recommended) with hints
            for the student's own maps on top of that.
        prompt_depth: stages with a prompt in front, counted from the last one (all of them where there are fewer), or
            the stages themselves as a tuple (1 is the first).
        regions: total number of student regions N_q, or a count per stage.
        region_dim, heads: width and heads of the region attention.
        feedback: what a prompt is told of the student: "previous" (the paper: last step's aligned maps minus the
            prompted teacher's, of other images), "current" (this batch's, minus the plain teacher's) or "none". Where
            canvases vary, the previous step's maps are kept at the nominal size.
        aligner: "nearest" (each region's projection fills its cell, for every family) or "published" (that of the
            public code, with its initial weights: linear over the positions too where the teacher works on tokens).
        feature_norm: "none" (the paper: L_FD is the sum over the stages) or "variance" (the mean over the stages of
            each one's loss over the variance of the plain teacher's map there, as it is compared).
        feature_size: maps are compared position by position ("teacher", the paper) or as averages over the student's
            regions ("regions"), which leaves out what no region can express.
        feature_stages: those that are compared: 0 for all (the paper), so many counted from the last one, or the stages
            themselves as a tuple. The others get no feedback.
        feature_warmup: steps in which feature_weight rises linearly from 0.
        restandardise: the target is the prompted map with the plain one's mean and variance in each channel, so that
            nothing is gained by shrinking it.
        logit_loss: what kd_weight weighs: "kl" (the paper), or "dist", the correlations over the classes and over the
            global batch with weight 1 each (`dist_loss`), where a sample is an image.
        prompt_lr: the prompts learn at so many times the recipe's rate, through its whole schedule; their weight decay,
            optimiser and clipping are the recipe's.
        hint_weight: of L_Hint, a share of each compared stage's variance whatever `feature_norm` is; 0: there is none.

    Where there are more maps than stages (the levels of a feature pyramid), map i answers the prompt of stage i. Every
    stage says what the prompts did: `kept_i`, the variance of the prompted map over the plain one's, and `explained_i`,
    the R^2 of the student's aligned map (`pat.targets`). Soft targets (mixup) enter L_CE alone; the prompted teacher's
    accuracy is that on the larger share.
    """

    step: Tensor
    tasks: ClassVar[tuple[str, ...]] = ()
    extra_passes = True
    variants = {
        "paper": {},
        "balanced": BALANCED,
        "relational": RELATIONAL,
        "hinted": {**RELATIONAL, "hint_weight": 4.0},
    }
    later = ("logit_loss", "prompt_lr", "hint_weight")

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
        drift_weight: float = 0.0,
        temperature: float = 1.0,
        feedback: str = "previous",
        aligner: str = "nearest",
        feature_norm: str = "none",
        feature_size: str = "teacher",
        feature_stages: int | tuple[int, ...] = 0,
        feature_warmup: int = 0,
        restandardise: bool = False,
        logit_loss: str = "kl",
        prompt_lr: float = 1.0,
        hint_weight: float = 0.0,
    ) -> None:
        super().__init__(student, teacher, task)
        check_choice("feedback", feedback, FEEDBACK)
        check_choice("aligner", aligner, ALIGNERS)
        check_choice("feature_norm", feature_norm, NORMS)
        check_choice("feature_size", feature_size, SIZES)
        check_choice("logit_loss", logit_loss, LOGIT_LOSSES)
        if logit_loss != "kl" and task.couples_images:
            raise ConfigError(f"logit_loss = {logit_loss!r}: for {task.name} 'kl', a sample is no whole image there")
        self.kd_weight, self.feature_weight, self.drift_weight = kd_weight, feature_weight, drift_weight
        self.regularisation_weight, self.temperature, self.feedback = regularisation_weight, temperature, feedback
        self.feature_norm, self.feature_size, self.restandardise = feature_norm, feature_size, restandardise
        self.logit_loss = logit_loss
        self.student_taps, self.teacher_taps = task.taps(student), task.for_teacher.taps(teacher)
        self.attention = RegionAttention(task.levels(self.student_taps), regions, region_dim, heads)
        stages, levels = self.teacher_taps.stages, task.levels(self.teacher_taps)
        self.grids = pair_stages(self.attention.grids, len(levels))
        compared = len(levels) if feature_stages == 0 else feature_stages
        self.compared_stages = chosen_stages("feature_stages", compared, len(levels), most=5)
        published, on_tokens = aligner == "published", not task.common_maps and family_of(teacher) != "cnn"
        self.align = nn.ModuleList(
            TokenAligner((region_dim, *self.grids[i]), levels[i])
            if published and on_tokens
            else Aligner(region_dim, levels[i][0], published)
            for i in self.compared_stages
        )
        self.prompted_stages = chosen_stages("prompt_depth", prompt_depth, len(stages))
        self.hint_weight = hint_weight
        own = pair_stages(task.levels(self.student_taps), len(levels))
        hinted = [(own[i], levels[i]) for i in self.compared_stages]
        self.hints = Hints(hinted, task.common_maps) if hint_weight else None
        fed = {} if feedback == "none" else {i: levels[i] for i in self.prompted_stages if i in self.compared_stages}
        self.prompts = nn.ModuleDict(
            {str(i): PromptBlock((stages[i].in_channels, *stages[i].in_size), fed.get(i)) for i in self.prompted_stages}
        )
        self.fed_stages = tuple(fed)
        if feedback == "previous":
            self.per_sample = tuple(f"feedback_{i}" for i in fed)
            for i, shape in fed.items():
                self.register_buffer(f"feedback_{i}", torch.zeros(0, *shape))
        self.prompt_lr, self.feature_warmup = prompt_lr, feature_warmup
        if feature_warmup:
            self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        seen = self.see(images, targets, self.student_taps)
        images = self.for_teacher(images, seen.sizes)
        ((tapped, memory),) = self.ask(images, self.teacher_taps.remembering(min(self.prompted_stages, default=0)))
        with torch.no_grad():
            plain = self.judge(images, seen, tapped)
        aligned = self._aligned(seen.maps, plain.maps)
        prompted = self._prompted(images, seen, plain, memory, aligned) if self.prompted_stages else plain
        compared = self._compared(aligned, prompted, plain)
        feature = [hcl_loss(stage.student, stage.target) for stage in compared.values()]
        spreads = [stage.spread for stage in compared.values()] if self.feature_norm == "variance" else ()
        drift = torch.stack([stage.drift for stage in compared.values()]).mean()
        regularisation = kd_loss(prompted.logits, plain.logits, temperature=1.0)
        hints = {"hint": (self.hint_weight, self._hints(seen, plain, compared))} if self.hint_weight else {}
        losses = self.result(
            seen,
            targets,
            **hints,
            kd=(self.kd_weight, self._logit_loss(seen, plain)),
            feature=(self._feature_weight(), over_stages(feature, spreads)),
            regularisation=(self.regularisation_weight, seen.over_all(regularisation)),
            drift=(self.drift_weight, drift),
        )
        hits = prompted.logits.argmax(1) == self.task.classes(seen, targets)
        stages = {f"kept_{i + 1}": stage.kept for i, stage in compared.items()}
        stages |= {f"explained_{i + 1}": stage.explained for i, stage in compared.items()}
        return {**losses, "prompted_top1": 100 * hits.float().mean(), **stages}

    def groups(self) -> Sequence[Group]:
        return () if self.prompt_lr == 1 else (Group("prompts", lr_scale=self.prompt_lr),)

    def _aligned(self, maps: Sequence[Tensor], like: Sequence[Tensor]) -> dict[int, Tensor]:
        """The student's regions in the shape of each of the teacher's compared maps, paired from the last one
        backwards."""
        regions = pair_stages(self.attention(maps), len(like))
        aligned = zip(self.compared_stages, self.align, strict=True)
        return {i: resize(align(regions[i]), like[i].shape[-2:]) for i, align in aligned}

    def _compared(self, aligned: Mapping[int, Tensor], prompted: Seen, plain: Seen) -> dict[int, Compared]:
        """The maps of each stage as they are compared."""
        own, theirs, before = ([x[i] for i in self.compared_stages] for x in (aligned, prompted.maps, plain.maps))
        shown = [plain.valid[i] for i in self.compared_stages] if plain.valid else ()
        grids = [self.grids[i] for i in self.compared_stages] if self.feature_size == "regions" else ()
        stages = compare(own, theirs, before, shown, grids, self.restandardise, drift_learns=self.drift_weight != 0)
        return dict(zip(self.compared_stages, stages, strict=True))

    def _hints(self, seen: Seen, plain: Seen, compared: Mapping[int, Compared]) -> Tensor:
        """L_Hint: the student's own maps of the compared stages against the plain teacher's."""
        assert self.hints is not None
        own = pair_stages(seen.maps, len(plain.maps))
        shown = [plain.valid[i] for i in compared] if plain.valid else ()
        spreads = [stage.spread for stage in compared.values()]
        return self.hints([own[i] for i in compared], [plain.maps[i] for i in compared], spreads, shown)

    def _logit_loss(self, seen: Seen, plain: Seen) -> Tensor:
        if self.logit_loss == "dist":
            return dist_loss(gather_batch(seen.logits), gather_batch(plain.logits), 1.0, 1.0, self.temperature)
        return seen.over_all(kd_loss(seen.logits, plain.logits, self.temperature))

    def _feature_weight(self) -> float | Tensor:
        """Its value in this step, which in training is one of those that the warm-up counts."""
        if not self.feature_warmup:
            return self.feature_weight
        reached = (self.step + 1) / self.feature_warmup
        if self.training:
            self.step += 1
        return self.feature_weight * reached.clamp(max=1)

    def _prompted(self, images: Tensor, seen: Seen, plain: Seen, memory: Memory, aligned: Mapping[int, Tensor]) -> Seen:
        """What the prompted teacher makes of the samples; below the first prompt all is taken from the plain pass."""
        told = self._feedback(plain.maps, aligned)
        prompts = {i: Told(self.prompts[str(i)], told.get(i)) for i in self.prompted_stages}
        prompted = self.judge(images, seen, self.teacher_taps.prompted(images, prompts, memory))
        if self.feedback == "previous" and self.training:
            for i in self.fed_stages:
                last = getattr(self, f"feedback_{i}")
                told_next = resize((aligned[i] - prompted.maps[i]).detach().float(), last.shape[-2:])
                setattr(self, f"feedback_{i}", told_next)
        return prompted

    def _feedback(self, plain: Sequence[Tensor], aligned: Mapping[int, Tensor]) -> Mapping[int, Tensor]:
        """Feedback map of each stage that gets one for this batch; samples beyond the previous batch's get zeros."""
        if self.feedback == "current":
            return {i: (aligned[i] - plain[i]).detach() for i in self.fed_stages}
        if self.feedback == "none":
            return {}
        told = {}
        for i in self.fed_stages:
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

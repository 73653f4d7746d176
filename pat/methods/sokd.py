"""Student-oriented knowledge distillation (SoKD, Shen et al. 2024, arXiv 2409.18785), over FitNet or ReviewKD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pat.areas import AreaHead, area_mask, mutual
from pat.clock import Clock
from pat.config import ConfigError
from pat.counter import hash64
from pat.feature_policy import FeaturePolicy
from pat.fusion import Fusion
from pat.groups import Adam, Group
from pat.losses import area_loss, hcl_loss, hint_loss
from pat.methods.base import Parts, register_method
from pat.methods.fitnet import FitNet
from pat.tasks import Seen, Task

BASES: dict[str, tuple[Any, Any]] = {"fitnet": (None, hint_loss), "reviewkd": (Fusion, hcl_loss)}
MASKS = ("both", "student")


@register_method
class SoKD(FitNet):
    """L = L_base + area_weight * L_DA + head_weight * L_D, against the teacher's maps as a policy augments them.

    DAFA: in the last `stages`, a policy (`pat.feature_policy`) augments the teacher's maps. Its own loss, L_aug = 1/2
    the mean squared difference to the student's aligned maps, teaches it alone, for `search_epochs` by an Adam of its
    own (3e-4, weight decay 1e-3), then it is frozen; the student's losses see augmented maps without gradient. The
    public code descends an unrolled student's loss in place of the paper's L_aug. `augment=False`: no DAFA.

    DAM: one head (`pat.areas`) for both sides finds `areas` boxes a map. L_D: mean squared difference of what it finds
    in the two maps; L_DA: that of the maps in the union of the boxes (`area_loss`). Nothing but agreement teaches the
    head, and L_aug is smallest where nothing is left of the target; so every epoch tells the `heat_variance` within
    an image, the `target_shift` |s(f_t) - f_t| / |f_t| and the `policy_entropy` in nats. With both weights 0 no DAM.

    Options:
        base: "fitnet" or "reviewkd" (`warmup_epochs=0`); with DAFA and DAM off it is that to the bit.
        mask: where boxes are looked for, in "both" maps' mean heat (the paper's mutual interest) or in the "student"'s
            (its code).
        search_epochs: of the public code, 50 for FitNet and 20 for ReviewKD on CIFAR-100, 5 on ImageNet.

    Weights are those of the base in the OFA and PAT tables, and 1 and 1, those of the public code for ReviewKD; its
    setting for FitNet of ResNet-32x4 is `weight=0`, `area_weight=1000`, `head_weight=1000`.
    """

    couples_samples = True  # a batch done in parts would be counted as several steps
    key: Tensor

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Task,
        *,
        base: str = "fitnet",
        weight: float = 1.0,
        kd_weight: float = 0.0,
        temperature: float = 1.0,
        area_weight: float = 1.0,
        head_weight: float = 1.0,
        stages: int = 2,
        areas: int = 8,
        head_dim: int = 64,
        mask: str = "both",
        augment: bool = True,
        search_epochs: int = 50,
    ) -> None:
        for name, value, known in (("base", base, [*BASES]), ("mask", mask, MASKS)):
            if value not in known:
                raise ConfigError(f"method 'sokd': {name} = {value!r}: one of {', '.join(known)}")
        super().__init__(
            student, teacher, task, *BASES[base], weight=weight, kd_weight=kd_weight, temperature=temperature
        )
        self.clock = Clock()
        self.register_buffer("key", torch.randint(1 << 62, ()))  # drawn first: with DAM or without, the same policy
        levels = task.levels(self.teacher_taps)
        if not 1 <= stages <= len(levels) or min(areas, head_dim) < 1 or search_epochs < 0:
            given = f"stages = {stages}, areas = {areas}, head_dim = {head_dim}, search_epochs = {search_epochs}"
            raise ConfigError(f"method 'sokd': {given}: 1 to {len(levels)} stages, positive numbers, and epochs or 0")
        self.area_weight, self.head_weight, self.stages = area_weight, head_weight, stages
        self.areas, self.mask, self.search_epochs = areas, mask, search_epochs
        looking = levels[-stages:] if area_weight or head_weight else []
        self.heads = nn.ModuleList(AreaHead(channels, head_dim) for channels, *_ in looking)
        self.policy = FeaturePolicy() if augment else None

    def groups(self) -> Sequence[Group]:
        own = Adam(lr=3e-4, weight_decay=1e-3, betas=(0.5, 0.999), epochs=self.search_epochs)
        return () if self.policy is None else (Group("policy", own=own),)

    def compared(self, aligned: Sequence[Tensor], told: Seen, indices: Tensor | None) -> Parts:
        searched: Parts = {}
        if self.policy is not None:
            told, searched = self._augmented(self.policy, aligned, told, indices)
        parts = super().compared(aligned, told, indices) | searched
        return parts | self._areas(aligned, told) if self.heads else parts

    def _last(self, aligned: Sequence[Tensor], told: Seen) -> list[tuple[Tensor, Tensor]]:
        """The pairs of maps, student's and teacher's, of the stages that this method is about."""
        own = told.shown(aligned[: len(told.maps)])
        return [*zip(own, told.shown(told.maps), strict=True)][-self.stages :]

    def _augmented(
        self, policy: FeaturePolicy, aligned: Sequence[Tensor], told: Seen, indices: Tensor | None
    ) -> tuple[Seen, Parts]:
        """What the teacher said, with augmented maps, and what teaches the policy."""
        plain = told.maps[-self.stages :]
        numbers = torch.arange(len(plain[0]), device=plain[0].device) if indices is None else indices
        augmented = policy(plain, hash64(self.key, self.clock()), numbers)
        before = told.maps[: -self.stages]
        pairs = self._last([x.detach() for x in aligned], replace(told, maps=(*before, *augmented)))
        shifts = [
            (new.detach() - old.float()).flatten(1).norm(dim=1) / old.float().flatten(1).norm(dim=1).clamp(min=1e-12)
            for new, old in zip(augmented, plain, strict=True)
        ]
        searched: Parts = {
            "policy": (1.0, torch.stack([hint_loss(own, target) / 2 for own, target in pairs]).sum()),
            "policy_entropy": (0.0, policy.entropy().detach()),
            "target_shift": (0.0, torch.stack(shifts).mean()),
        }
        return replace(told, maps=(*before, *(x.detach() for x in augmented))), searched

    def _areas(self, aligned: Sequence[Tensor], told: Seen) -> Parts:
        """DAM."""
        distances, heads, variances = [], [], []
        for head, (own, target) in zip(self.heads, self._last(aligned, told), strict=True):
            found, theirs = head(own), head(target)
            mask = area_mask(found if self.mask == "student" else mutual(found, theirs), self.areas)
            distances.append(area_loss(own, target, mask))
            heads.append(hint_loss(found.stacked(), theirs.stacked()))
            variances += [x.heat.detach().flatten(1).var(1, correction=0).mean() for x in (found, theirs)]
        return {
            "area": (self.area_weight, torch.stack(distances).sum()),
            "heads": (self.head_weight, torch.stack(heads).sum()),
            "heat_variance": (0.0, torch.stack(variances).mean()),
        }

"""Parameters of a method that learn otherwise than the recipe says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.optim import param_groups_weight_decay
from torch import nn


@dataclass(frozen=True)
class Adam:
    """An Adam for some parameters alone: a constant rate, L2 weight decay, no clipping; it stops after `epochs`."""

    lr: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    epochs: float = math.inf


@dataclass(frozen=True)
class Group:
    """All parameters of one `module` of a method, by its name in it.

    They learn by the recipe's optimiser at `lr_scale` times its rate, through the whole schedule; or by one of their
    `own`, apart from the recipe's optimiser, schedule and clipping of gradients.
    """

    module: str
    lr_scale: float = 1.0
    own: Adam | None = None


class OwnOptimizer:
    """The optimiser of a group that has one of its own, in a run of so many `steps_per_epoch`."""

    def __init__(self, parameters: Sequence[nn.Parameter], settings: Adam, steps_per_epoch: int) -> None:
        self.optimizer = torch.optim.Adam(
            parameters, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
        )
        self.steps = settings.epochs * steps_per_epoch

    def step(self, number: int) -> None:
        """Step `number` of the run; after its last epoch the parameters stay as they are."""
        if number < self.steps:
            self.optimizer.step()


def own_optimizers(method: nn.Module, groups: Sequence[Group], steps_per_epoch: int) -> list[OwnOptimizer]:
    """Those of the groups that have their own, in their order."""
    return [
        OwnOptimizer([*method.get_submodule(group.module).parameters()], group.own, steps_per_epoch)
        for group in groups
        if group.own is not None
    ]


def parameter_groups(method: nn.Module, groups: Sequence[Group], weight_decay: float) -> list[dict[str, Any]]:
    """timm's parameter groups of a method for the recipe's optimiser: each of timm's two (with weight decay and
    without) less the `groups`, then the part of it that each group has at its `lr_scale`."""
    free: set[str] = method.no_weight_decay()  # type: ignore[operator]
    timms = param_groups_weight_decay(method, weight_decay, no_weight_decay_list=free)
    members = [{id(p) for p in method.get_submodule(group.module).parameters()} for group in groups]
    grouped = {p for own in members for p in own}
    found = [{**timm, "params": [p for p in timm["params"] if id(p) not in grouped]} for timm in timms]
    for group, own in zip(groups, members, strict=True):
        if group.own is None:
            parts = ({**timm, "params": [p for p in timm["params"] if id(p) in own]} for timm in timms)
            found += [{**part, "lr_scale": group.lr_scale} for part in parts]
    return [group for group in found if group["params"]]

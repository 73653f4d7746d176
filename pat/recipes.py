"""Whether timm has what a recipe names: its optimiser, its schedule, its policy of augmentation; tried on nothing."""

from __future__ import annotations

from functools import lru_cache

import timm.optim
import timm.scheduler
import torch
from timm.data.auto_augment import augment_and_mix_transform, auto_augment_transform, rand_augment_transform
from torch import nn

from pat.config import ConfigError, Recipe
from pat.views.randaugment import parse


@lru_cache(maxsize=256)
def check_recipe(recipe: Recipe) -> None:
    """Raises ConfigError naming the field for what cannot be built. Called before any work."""
    try:
        optimizer: torch.optim.Optimizer = timm.optim.create_optimizer_v2(
            [nn.Parameter(torch.zeros(1))],
            opt=recipe.optimizer,
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            momentum=recipe.momentum,
        )
    except Exception as error:
        raise ConfigError(f"recipe.optimizer = {recipe.optimizer!r}: {_line(error)}") from error
    if recipe.schedule == "multistep" and not recipe.milestones:
        raise ConfigError("recipe.schedule = 'multistep': recipe.milestones says where it decays")
    try:
        timm.scheduler.create_scheduler_v2(
            optimizer, sched=recipe.schedule, num_epochs=recipe.epochs, decay_milestones=list(recipe.milestones)
        )
    except Exception as error:
        raise ConfigError(f"recipe.schedule = {recipe.schedule!r}: {_line(error)}") from error
    if recipe.auto_augment:
        _check_policy(recipe)


def _check_policy(recipe: Recipe) -> None:
    if recipe.views == "batched":
        parse(recipe.auto_augment)
        return
    kinds = {"rand": rand_augment_transform, "augmix": augment_and_mix_transform}
    build = next((kind for name, kind in kinds.items() if recipe.auto_augment.startswith(name)), auto_augment_transform)
    try:
        build(recipe.auto_augment, {})
    except Exception as error:
        raise ConfigError(f"recipe.auto_augment = {recipe.auto_augment!r}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["timm has no such thing"])[0]

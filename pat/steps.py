"""An optimiser step of one run."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

from pat.config import RunConfig
from pat.counter import hash_numbers
from pat.training import Training

_STEP = 0x73746570


def train_step(
    training: Training, config: RunConfig, images: Tensor, targets: Any, indices: Tensor, step: int
) -> dict[str, Tensor]:
    """One optimiser step on normalised images [B, 3, H, W], the task's targets, indices [B]; the scalar losses,
    detached.

    Torch's generators are seeded from (seed, step), so dropout and the like need no state in the checkpoint.
    """
    seeded(config, step)
    losses = learn(training, config, images, targets, indices)
    for own in training.own_optimizers:
        own.step(step)
    if training.ema:
        training.ema.update(training.student, step=step + 1)
    return losses


def seeded(config: RunConfig, step: int) -> None:
    """Torch's generators for a step, without a word to any device."""
    torch.manual_seed(hash_numbers(config.seed, _STEP, step))


def learn(training: Training, config: RunConfig, images: Tensor, targets: Any, indices: Tensor) -> dict[str, Tensor]:
    """The gradients of a batch and what the recipe's optimiser makes of them; the losses."""
    training.method.zero_grad(set_to_none=True)
    losses = gradients(training, config, images, targets, indices)
    if config.recipe.clip_grad:
        torch.nn.utils.clip_grad_norm_(training.clipped, config.recipe.clip_grad)
    training.optimizer.step()
    return losses


def gradients(
    training: Training, config: RunConfig, images: Tensor, targets: Any, indices: Tensor
) -> dict[str, Tensor]:
    """Adds the gradients of a batch to the parameters', in as many parts as the run's measures say; the mean losses."""
    parts = training.measures.accumulation
    found: list[dict[str, Tensor]] = []
    slices = zip(*(x.chunk(parts) if parts > 1 else (x,) for x in (images, targets, indices)), strict=True)
    for number, (x, y, i) in enumerate(slices, start=1):
        with training.unsynchronised() if number < parts else contextlib.nullcontext():
            with torch.autocast(x.device.type, torch.bfloat16, enabled=config.recipe.precision == "bf16"):
                losses = training.step_module(x, y, i)
            (losses["loss"] / parts).backward()
        found.append({name: value.detach() for name, value in losses.items() if name != "output"})
    return found[0] if parts == 1 else {name: torch.stack([part[name] for part in found]).mean(0) for name in found[0]}


def trial_step(training: Training, config: RunConfig, images: int) -> None:
    """A forward and backward pass of so many images, for what it takes of memory; nothing is learnt."""
    indices, pixels, targets = training.task.blank(images, training.io.device)
    training.step_module.train()
    gradients(training, config, pixels, targets, indices)

"""An epoch of optimiser steps of one run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pat.config import RunConfig
from pat.counter import hash64
from pat.data import Dataset
from pat.finite import Watch
from pat.lockstep import Walk, Wanted
from pat.models import normalisation
from pat.training import Training, stacked
from pat.views import Views

_STEP = 0x73746570
LOOKS = 64
"""So often in an epoch it is told how far it is, and asked whether a checkpoint is due: a message, with workers."""


def train_epoch(training: Training, config: RunConfig, dataset: Dataset) -> Walk[dict[str, Any]]:
    """One epoch of steps, or what is left of it; the row's training half. Every worker takes its slice of each global
    batch. It ends early where a loss is no number. `Training.seconds` counts what the run's own steps take, and its
    share of what it has in common with others.
    """
    io, recipe, epoch = training.io, config.recipe, training.epoch
    training.step_module.train()
    training.method.begin_epoch(epoch)
    first, steps = len(training.losses), training.steps_per_epoch
    name = config.task, recipe.shown, config.seed, normalisation(training.student)

    def views() -> Iterator[Views]:
        batches = training.task.batches(dataset.train, recipe.batch_size, config.seed, epoch)
        student, done = training.student, len(training.losses)
        return training.task.views(
            dataset.train, batches, recipe, student, config.seed, epoch, io.rank, io.world_size, done
        )

    watch = Watch(io.world_size)
    for done in range(first, steps):
        batch = yield Wanted(name, epoch, done, done == steps - 1, views)
        start, step = time.perf_counter() - batch.seconds, epoch * steps + done
        indices, images, targets = batch.views
        if recipe.schedule_per_epoch:
            training.schedule.step(epoch)
        else:
            training.schedule.step_update(step)
        training.losses.append(train_step(training, config, images, targets, indices, step))
        training.seconds += time.perf_counter() - start
        if done + 1 < steps and (done + 1) % -(-steps // LOOKS) == 0:
            io.stepped(epoch, (done + 1) * recipe.batch_size, steps * recipe.batch_size)
            if io.due():
                io.keep(training.state(config))
        del batch, indices, images, targets
        if watch.lost(training.losses):
            break
    losses = stacked(training.losses, io.world_size)
    training.losses = []
    training.last_losses = losses["loss"].tolist()
    means = {name: values.double().mean().item() for name, values in losses.items()}
    return {
        "epoch": epoch + 1,
        "lr": training.optimizer.param_groups[0]["lr"],
        "train_loss": means.pop("loss"),
        "parts": means,
    }


def train_step(
    training: Training, config: RunConfig, images: Tensor, targets: Any, indices: Tensor, step: int
) -> dict[str, Tensor]:
    """One optimiser step on normalised images [B, 3, H, W], the task's targets, indices [B]; the scalar losses,
    detached.

    Torch's generators are seeded from (seed, step), so dropout and the like need no state in the checkpoint.
    """
    torch.manual_seed(int(hash64(config.seed, _STEP, step)))
    training.method.zero_grad(set_to_none=True)
    losses = gradients(training, config, images, targets, indices)
    if config.recipe.clip_grad:
        torch.nn.utils.clip_grad_norm_(training.clipped, config.recipe.clip_grad)
    training.optimizer.step()
    for own in training.own_optimizers:
        own.step(step)
    if training.ema:
        training.ema.update(training.student, step=step + 1)
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

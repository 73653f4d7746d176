"""An epoch of a run, batch after batch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from pat.captured import CapturedSteps, one_ahead
from pat.config import RunConfig
from pat.data import Dataset
from pat.finite import Watch
from pat.lockstep import Walk, Wanted
from pat.models import normalisation
from pat.steps import train_step
from pat.training import Training, stacked
from pat.views import Views

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
        made = training.task.views(
            dataset.train, batches, recipe, student, config.seed, epoch, io.rank, io.world_size, done
        )
        return one_ahead(made, io.device) if training.captured else made

    take = CapturedSteps(training, config) if training.captured else partial(train_step, training, config)
    watch = Watch(io.world_size)
    for done in range(first, steps):
        batch = yield Wanted(name, epoch, done, done == steps - 1, views)
        start, step = time.perf_counter() - batch.seconds, epoch * steps + done
        indices, images, targets = batch.views
        if recipe.schedule_per_epoch:
            training.schedule.step(epoch)
        else:
            training.schedule.step_update(step)
        training.losses.append(take(images, targets, indices, step))
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

"""The training loop: plain torch, any device; it talks to the world through `io` alone."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from pat.config import RunConfig
from pat.counter import hash64, permutation
from pat.data import Dataset, load
from pat.evaluate import NO_SCORE, WEIGHTS, chosen_epoch, evaluate, results
from pat.io import IO
from pat.models import normalisation
from pat.training import Training
from pat.views import train_views

_ORDER, _STEP = 0x6F72646572, 0x73746570
EVAL_BATCH = 256


@dataclass(frozen=True)
class Outcome:
    """How far a run came. `results`, `test_correct` and what follows are filled when it is finished.

    `status` is paused, finished or diverged; `history` has one row an epoch; `results` is `evaluate.results`;
    `test_correct` holds, per rule and weights, the packed correctness of each test image in the order of the set.
    """

    status: str
    epoch: int
    history: list[dict[str, Any]]
    message: str = ""
    results: dict[str, float] = field(default_factory=dict)
    test_correct: dict[str, bytes] = field(default_factory=dict)
    test_images: int = 0
    student_sha256: str = ""
    student_params: int = 0
    extra_params: int = 0
    teacher_sha256: str = ""
    teacher_top1: float = math.nan
    exported: str = "raw"


def train(
    config: RunConfig,
    io: IO,
    *,
    until: int | None = None,
    data_root: Path = Path("data"),
    teacher_file: Path | None = None,
    teacher_sha256: str | None = None,
) -> Outcome:
    """Trains a run from its checkpoint (or the start) to epoch `until` (default: its full length).

    Stopping and going on again gives, on the CPU, bit for bit what an uninterrupted training gives. Sets torch's
    number of threads from the configuration for the time of the call.

    Raises ConfigError, one line, for whatever in the configuration or the files cannot be used.
    """
    with _threads(config.threads):
        dataset = load(config.data, data_root).to(io.device)
        training = Training(config, io, dataset, teacher_file, teacher_sha256)
        if (state := io.load()) is not None:
            training.restore(state, config)
        target = min(until or config.recipe.epochs, config.recipe.epochs)
        while training.epoch < target:
            row = train_epoch(training, config, dataset)
            if not math.isfinite(row["train_loss"]):
                message = f"loss became {row['train_loss']} in epoch {training.epoch + 1}"
                return Outcome("diverged", training.epoch, training.history, message)
            _score_epoch(training, config, dataset, row)
            io.report(training.history, training.state(config))
        if training.epoch < config.recipe.epochs:
            return Outcome("paused", training.epoch, training.history)
        return _finish(training, config, dataset)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def epoch_batches(images: int, batch_size: int, seed: int, epoch: int) -> Tensor:
    """Indices [steps, batch_size] of one epoch: a permutation by (seed, epoch), the last short batch left out."""
    steps = images // batch_size
    return permutation(images, seed, _ORDER, epoch)[: steps * batch_size].view(steps, batch_size)


def train_epoch(training: Training, config: RunConfig, dataset: Dataset) -> dict[str, Any]:
    """One epoch of steps; the row's training half. Every worker takes its slice of each global batch."""
    io, recipe, epoch = training.io, config.recipe, training.epoch
    start = time.perf_counter()
    training.step_module.train()
    views = train_views(
        dataset.train,
        epoch_batches(len(dataset.train), recipe.batch_size, config.seed, epoch),
        recipe,
        config.data.image_size,
        dataset.num_classes,
        normalisation(training.student),
        config.seed,
        epoch,
        io.rank,
        io.world_size,
    )
    logged: list[dict[str, Tensor]] = []
    for step, (indices, images, targets) in enumerate(views, start=epoch * training.steps_per_epoch):
        if recipe.schedule_per_epoch:
            training.schedule.step(epoch)
        else:
            training.schedule.step_update(step)
        logged.append(train_step(training, config, images, targets, indices, step))
    losses = {name: torch.stack([parts[name] for parts in logged]) for name in logged[0]}
    if io.world_size > 1:
        for values in losses.values():
            dist.all_reduce(values)
            values /= io.world_size
    training.last_losses = losses["loss"].tolist()
    means = {name: values.double().mean().item() for name, values in losses.items()}
    return {
        "epoch": epoch + 1,
        "lr": training.optimizer.param_groups[0]["lr"],
        "train_loss": means.pop("loss"),
        "parts": means,
        "seconds": time.perf_counter() - start,
    }


def train_step(
    training: Training, config: RunConfig, images: Tensor, targets: Tensor, indices: Tensor, step: int
) -> dict[str, Tensor]:
    """One optimiser step on normalised images [B, 3, S, S], targets [B, C], indices [B]; the scalar losses, detached.

    Torch's generators are seeded from (seed, step), so dropout and the like need no state in the checkpoint.
    """
    torch.manual_seed(int(hash64(config.seed, _STEP, step)))
    device = images.device.type
    with torch.autocast(device, torch.bfloat16, enabled=config.recipe.precision == "bf16"):
        losses = training.step_module(images, targets, indices)
    training.optimizer.zero_grad(set_to_none=True)
    losses["loss"].backward()
    if config.recipe.clip_grad:
        torch.nn.utils.clip_grad_norm_(training.trainable, config.recipe.clip_grad)
    training.optimizer.step()
    if training.ema:
        training.ema.update(training.student, step=step + 1)
    return {name: value.detach() for name, value in losses.items() if name != "output"}


def _score_epoch(training: Training, config: RunConfig, dataset: Dataset, row: dict[str, Any]) -> None:
    """Adds raw and EMA scores to `row`, appends it, and keeps the correctness bits of the chosen epochs."""
    training.share_statistics()
    io, bits = training.io, {}
    for weights, model in zip(WEIGHTS, (training.student, training.ema and training.ema.module), strict=True):
        val = test = NO_SCORE
        if model is not None:
            val, test = (
                evaluate(model, split, config.data, EVAL_BATCH, io.rank, io.world_size)
                for split in (dataset.val, dataset.test)
            )
        row |= {f"val_loss_{weights}": val.loss, f"val_top1_{weights}": val.top1, f"test_top1_{weights}": test.top1}
        bits[weights] = test.correct
    training.history.append(row)
    training.epoch += 1
    for weights in WEIGHTS:
        for rule in ("last", "best_val"):
            if chosen_epoch(training.history, rule, weights) is row:
                training.best_bits[f"{rule}_{weights}"] = bits[weights]


def _finish(training: Training, config: RunConfig, dataset: Dataset) -> Outcome:
    """Exports the student and sums up the run."""
    io, teacher = training.io, training.method.teacher
    digest = io.export(training.product().state_dict())
    own = sum(p.numel() for p in training.student.parameters())
    teacher_top1 = math.nan
    if teacher is not None:
        teacher_top1 = evaluate(teacher, dataset.test, config.data, EVAL_BATCH, io.rank, io.world_size).top1
    return Outcome(
        status="finished",
        epoch=training.epoch,
        history=training.history,
        results=results(training.history),
        test_correct={rule: np.packbits(bits.numpy()).tobytes() for rule, bits in training.best_bits.items()},
        test_images=len(dataset.test),
        student_sha256=digest,
        student_params=own,
        extra_params=sum(p.numel() for p in training.trainable) - own,
        teacher_sha256=training.teacher_sha256,
        teacher_top1=teacher_top1,
        exported=training.exported,
    )

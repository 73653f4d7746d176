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
from torch import Tensor

from pat.config import RunConfig
from pat.counter import hash64
from pat.data import Dataset, load
from pat.evaluate import WEIGHTS, chosen_epoch, results
from pat.io import IO
from pat.memory import NO_MEASURES, Measures, OutOfMemory, is_out_of_memory, next_measures, release, workers_that_fit
from pat.tasks import NO_SCORE
from pat.training import Training, stacked

_STEP = 0x73746570
LOOKS = 64
"""So often in an epoch it is asked whether a checkpoint is due: among several workers that costs a message."""


@dataclass(frozen=True)
class Outcome:
    """How far a run came. `results`, `test_correct` and what follows are filled when it is finished.

    `status` is paused, finished or diverged; `history` has one row an epoch; `results` is `evaluate.results`;
    `test_correct` holds, per rule and weights, the packed correctness of each test image in the order of the set,
    `details`, per rule and weights, the test set's further scores in percent by name, where the task has any;
    `initial_sha256` is that of the file that the training started from; `measures` says what was done to fit the
    memory, `peak_memory` is in bytes of a GPU, 0 on the CPU.
    """

    status: str
    epoch: int
    history: list[dict[str, Any]]
    message: str = ""
    results: dict[str, float] = field(default_factory=dict)
    test_correct: dict[str, bytes] = field(default_factory=dict)
    details: dict[str, dict[str, float]] = field(default_factory=dict)
    test_images: int = 0
    initial_sha256: str = ""
    student_sha256: str = ""
    student_params: int = 0
    extra_params: int = 0
    teacher_sha256: str = ""
    teacher_score: float = math.nan
    exported: str = "raw"
    measures: str = ""
    peak_memory: int = 0
    skipped_images: int = 0


def train(
    config: RunConfig,
    io: IO,
    *,
    until: int | None = None,
    data_root: Path = Path("data"),
    teacher_file: Path | None = None,
    teacher_sha256: str | None = None,
    measures: Measures = NO_MEASURES,
    initial_file: Path | None = None,
    initial_sha256: str | None = None,
) -> Outcome:
    """Trains a run from its checkpoint (or the start) to epoch `until` (default: its full length).

    Stopping and going on again gives, on the CPU, bit for bit what an uninterrupted training gives. Sets torch's
    number of threads from the configuration for the time of the call. `initial_file` holds the weights that
    `config.initial` names (`models.native_file`, or another run's student), with that SHA-256; without it timm is asked
    for them.

    Raises ConfigError, one line, for whatever in the configuration or the files cannot be used, among them DataError
    for files, StorageError where nothing can be written, and OutOfMemory with the `measures` to try next.
    """
    with _threads(config.threads):
        dataset = load(config.data, data_root).to(io.device)
        training = None
        try:
            training = Training(
                config, io, dataset, teacher_file, teacher_sha256, measures, initial_file, initial_sha256
            )
            return _train(training, config, dataset, until or config.recipe.epochs)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            problem = _line(error)
        # Outside of the handler, whose traceback would hold every activation.
        share = config.recipe.batch_size // io.world_size
        following = next_measures(measures, training.method, share) if training is not None else None
        del training
        release()
        if following is not None:
            raise OutOfMemory(problem, following)

        fits = "more workers are needed"
        if io.world_size == 1:  # a worker among others cannot try anything: its peers wait for it

            def attempt(images: int) -> None:
                smaller = Training(
                    config, io, dataset, teacher_file, teacher_sha256, measures, initial_file, initial_sha256
                )
                trial_step(smaller, config, images)

            enough = workers_that_fit(attempt, share // measures.accumulation)
            fits = f"a share of {enough} workers would fit" if enough else "not even one image fits"
        raise OutOfMemory(f"batch of {config.recipe.batch_size} on {io.world_size} worker(s): {problem}; {fits}", None)


def _train(training: Training, config: RunConfig, dataset: Dataset, until: int) -> Outcome:
    """From the last checkpoint to epoch `until`, and the run's sum where that is its end."""
    io = training.io
    if (state := io.load()) is not None:
        training.restore(state, config)
    while training.epoch < min(until, config.recipe.epochs):
        start = time.perf_counter() - training.seconds
        row = train_epoch(training, config, dataset, start)
        if not math.isfinite(row["train_loss"]):
            message = f"loss became {row['train_loss']} in epoch {training.epoch + 1}"
            return _outcome("diverged", training, dataset, message=message)
        _score_epoch(training, dataset, row)
        row["seconds"] = time.perf_counter() - start
        io.report(training.history, training.state(config))
        if training.epoch < config.recipe.epochs and io.asked_to_stop():
            break
    if training.epoch < config.recipe.epochs:
        return _outcome("paused", training, dataset)
    return _finish(training, dataset)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_epoch(training: Training, config: RunConfig, dataset: Dataset, start: float) -> dict[str, Any]:
    """One epoch of steps, or what is left of it; the row's training half. Every worker takes its slice of each global
    batch. `start`: when it began, less the time for which it stood still.
    """
    io, recipe, epoch = training.io, config.recipe, training.epoch
    training.step_module.train()
    training.method.begin_epoch(epoch)
    batches = training.task.batches(dataset.train, recipe.batch_size, config.seed, epoch)
    first, steps = len(training.losses), training.steps_per_epoch
    views = training.task.views(
        dataset.train, batches, recipe, training.student, config.seed, epoch, io.rank, io.world_size, first
    )
    for step, (indices, images, targets) in enumerate(views, start=epoch * steps + first):
        if recipe.schedule_per_epoch:
            training.schedule.step(epoch)
        else:
            training.schedule.step_update(step)
        training.losses.append(train_step(training, config, images, targets, indices, step))
        done = len(training.losses)
        if done < steps and done % -(-steps // LOOKS) == 0 and io.due():
            training.seconds = time.perf_counter() - start
            io.keep(training.state(config))
    losses = stacked(training.losses, io.world_size)
    training.losses, training.seconds = [], 0.0
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
    slices = zip(images.chunk(parts), targets.chunk(parts), indices.chunk(parts), strict=True)
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


def _score_epoch(training: Training, dataset: Dataset, row: dict[str, Any]) -> None:
    """Adds raw and EMA scores to `row`, appends it, and keeps what only the chosen epochs' test scores need."""
    training.share_statistics()
    io, tested = training.io, {}
    for weights, model in zip(WEIGHTS, (training.student, training.ema and training.ema.module), strict=True):
        val = test = NO_SCORE
        if model is not None:
            val, test = (
                training.method.score(model, split, io.rank, io.world_size) for split in (dataset.val, dataset.test)
            )
        row |= {f"val_loss_{weights}": val.loss, f"val_score_{weights}": val.score, f"test_score_{weights}": test.score}
        tested[weights] = test
    training.history.append(row)
    training.epoch += 1
    for weights in WEIGHTS:
        for rule in ("last", "best_val"):
            if chosen_epoch(training.history, rule, weights) is row:
                training.keep(f"{rule}_{weights}", tested[weights])


def _outcome(status: str, training: Training, dataset: Dataset, **rest: Any) -> Outcome:
    """What every outcome says."""
    peak = torch.cuda.max_memory_reserved(training.io.device) if training.io.device.type == "cuda" else 0
    return Outcome(
        status,
        training.epoch,
        training.history,
        measures=str(training.measures),
        peak_memory=peak,
        skipped_images=dataset.skipped,
        **rest,
    )


def _finish(training: Training, dataset: Dataset) -> Outcome:
    """Exports the student and sums up the run."""
    io, teacher = training.io, training.method.teacher
    digest = io.export(training.product())
    own = sum(p.numel() for p in training.student.parameters())
    taught_by = NO_SCORE
    if teacher is not None:
        taught_by = training.task.for_teacher.score(teacher, dataset.test, io.rank, io.world_size)
    return _outcome(
        "finished",
        training,
        dataset,
        results=results(training.history),
        test_correct={rule: np.packbits(bits.numpy()).tobytes() for rule, bits in training.best_bits.items()},
        test_images=len(dataset.test),
        details=training.best_details,
        initial_sha256=training.initial_sha256,
        student_sha256=digest,
        student_params=own,
        extra_params=sum(p.numel() for p in training.trainable) - own,
        teacher_sha256=training.teacher_sha256,
        teacher_score=taught_by.score,
        exported=training.exported,
    )

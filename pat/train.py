"""The training loop: plain torch, any device; it talks to the world through `io` alone."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pat.config import ConfigError, RunConfig
from pat.data import Dataset, load_on
from pat.epochs import train_epoch
from pat.evaluate import WEIGHTS, chosen_epoch, results, teacher_score
from pat.io import IO
from pat.lockstep import Walk, lockstep
from pat.memory import (
    NO_MEASURES,
    Crowded,
    Measures,
    OutOfMemory,
    is_out_of_memory,
    next_measures,
    release,
    workers_that_fit,
)
from pat.plain import Teachers
from pat.steps import trial_step
from pat.tasks import NO_SCORE
from pat.training import Training


@dataclass(frozen=True)
class Outcome:
    """How far a run came. `results`, `test_correct` and what follows are filled when it is finished.

    `status` is paused, finished or diverged; `history` has one row an epoch; `results` is `evaluate.results`;
    `test_correct` holds, per rule and weights, the packed correctness of each test image in the order of the set,
    `details`, per rule and weights, the test set's further scores in percent by name, where the task has any;
    `initial_sha256` is that of the file that the training started from; `measures` says what was done to fit the
    memory, `peak_memory` is in bytes of a GPU, 0 on the CPU. `chance` is the score of a constant answer on the test
    images (nan: there is none), `account` what the data set holds, in one line, `classes` their names, `described` the
    student's configuration (`Task.described`).
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
    chance: float = math.nan
    account: str = ""
    classes: tuple[str, ...] = ()
    described: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """A run that is to be trained up to epoch `until` (0: its full length), alone or together with others.

    `teacher_file` holds its teacher's weights. `initial_file` holds the weights that `config.initial` names
    (`models.native_file`, or another run's student), with that SHA-256; without it timm is asked for them.
    `captured`: its steps are those of `pat.captured`. `teacher_score`: its teacher's on the test images, where known.
    """

    config: RunConfig
    io: IO
    until: int = 0
    teacher_file: Path | None = None
    teacher_sha256: str | None = None
    measures: Measures = NO_MEASURES
    initial_file: Path | None = None
    initial_sha256: str | None = None
    captured: bool = False
    teacher_score: float | None = None

    def training(self, dataset: Dataset, teachers: Teachers) -> Training:
        return Training(
            self.config,
            self.io,
            dataset,
            self.teacher_file,
            self.teacher_sha256,
            self.measures,
            self.initial_file,
            self.initial_sha256,
            teachers,
            self.captured,
        )


def train(
    config: RunConfig, io: IO, *, data_root: Path = Path("data"), until: int | None = None, **given: Any
) -> Outcome:
    """Trains a run from its checkpoint (or the start) to epoch `until` (default: its full length); `given` as in
    `Member`.

    Stopping and going on again gives, on the CPU, bit for bit what an uninterrupted training gives. Sets torch's
    number of threads from the configuration for the time of the call.

    Raises ConfigError, one line, for whatever in the configuration or the files cannot be used, among them DataError
    for files, StorageError where nothing can be written, and OutOfMemory with the `measures` to try next.
    """
    [(_, end)] = train_together([Member(config, io, until or 0, **given)], data_root)
    if isinstance(end, Exception):
        raise end
    return end


def train_together(
    members: Sequence[Member], data_root: Path = Path("data")
) -> Iterator[tuple[int, Outcome | Exception]]:
    """Trains runs of one data set on one device: batches that several of them see are made once, and a teacher that
    several have is asked once. Gives the number of each as it ends, with what `train` gives or raises for it.

    On the CPU each becomes bit for bit what it becomes alone. One that does not fit beside the others leaves with
    Crowded.
    """
    company = Company(data_root, shared=len(members) > 1)
    with threads(members[0].config.threads):
        walks = {number: company.walk(member) for number, member in enumerate(members)}
        yield from lockstep(walks, company.teachers.forget)


class Company:
    """What runs have in common that are trained together: the images, and with `shared` their teachers' passes."""

    def __init__(self, data_root: Path, shared: bool) -> None:
        self.teachers = Teachers(shared)
        self._data_root = data_root
        self._first: Member | None = None
        self._present = 0

    def walk(self, member: Member) -> Walk[Outcome]:
        """A run on its way. Raises what `train` does, and Crowded where it has no room beside the others."""
        dataset = self._dataset(member)
        self._present += 1
        config, io, measures, training = member.config, member.io, member.measures, None
        try:
            training = member.training(dataset, self.teachers)
            return (yield from _train(training, member, dataset))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            problem = _line(error)
        finally:
            self._present -= 1
        # Outside of the handler, whose traceback would hold every activation.
        share = config.recipe.batch_size // io.world_size
        if self._present:
            del training
            release()
            raise Crowded(f"{problem}; there were {self._present} other run(s) beside it", measures)
        following = next_measures(measures, training.method, share) if training is not None else None
        del training
        release()
        if following is not None:
            raise OutOfMemory(problem, following)

        fits = "more workers are needed"
        if io.world_size == 1:  # a worker among others cannot try anything: its peers wait for it

            def attempt(images: int) -> None:
                trial_step(member.training(dataset, self.teachers), config, images)

            enough = workers_that_fit(attempt, share // measures.accumulation)
            fits = f"a share of {enough} workers would fit" if enough else "not even one image fits"
        batch = f"batch of {config.recipe.batch_size} on {io.world_size} worker(s)"
        raise OutOfMemory(f"{batch}: {problem}; {fits}", None)

    def _dataset(self, member: Member) -> Dataset:
        first = self._first = self._first or member
        if _place(member) != _place(first) or (member is not first and member.io.world_size > 1):
            together = "one data set, one device, one number of threads and one worker"
            raise ConfigError(
                f"runs {first.config.run_id} and {member.config.run_id} cannot be trained together: {together}"
            )
        return load_on(member.config.data, self._data_root, member.io.device)


def _place(member: Member) -> tuple[Any, ...]:
    return member.config.data, member.config.threads, member.io.device


def _train(training: Training, member: Member, dataset: Dataset) -> Walk[Outcome]:
    """From the last checkpoint to epoch `until`, and the run's sum where that is its end."""
    io, config = training.io, member.config
    until = member.until or config.recipe.epochs
    if (state := io.load()) is not None:
        training.restore(state, config)
    while training.epoch < min(until, config.recipe.epochs):
        row = yield from train_epoch(training, config, dataset)
        if not math.isfinite(row["train_loss"]):
            message = f"loss became {row['train_loss']} in epoch {training.epoch + 1}"
            return _outcome("diverged", training, dataset, message=message)
        start = time.perf_counter()
        _score_epoch(training, dataset, row)
        row["seconds"] = training.seconds + time.perf_counter() - start
        training.seconds = 0.0
        io.report(training.history, training.state(config))
        if training.epoch < config.recipe.epochs and io.asked_to_stop():
            break
    if training.epoch < config.recipe.epochs:
        return _outcome("paused", training, dataset)
    return _finish(training, member, dataset)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """So many of torch's threads for the time of the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _score_epoch(training: Training, dataset: Dataset, row: dict[str, Any]) -> None:
    """Adds raw and EMA scores to `row`, appends it, and keeps what only the chosen epochs' test scores need."""
    training.share_statistics()
    io, tested = training.io, {}
    models = [training.student, *([training.ema.module] if training.ema else [])]
    splits = (dataset.val, dataset.test)
    scores = [training.method.scores(models, split, io.rank, io.world_size) for split in splits]
    for weights, (val, test) in zip(WEIGHTS, (*zip(*scores, strict=True), (NO_SCORE, NO_SCORE)), strict=False):
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


def _finish(training: Training, member: Member, dataset: Dataset) -> Outcome:
    """Exports the student and sums up the run."""
    digest = training.io.export(training.product())
    own = sum(p.numel() for p in training.student.parameters())
    if (taught_by := member.teacher_score) is None:
        taught_by = teacher_score(training.method, member.config, training.teacher_sha256, training.io, dataset.test)
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
        teacher_score=taught_by,
        exported=training.exported,
        chance=training.task.chance(dataset.test),
        account=dataset.account,
        classes=dataset.classes,
        described=training.task.described(training.student, dataset.classes),
    )

"""A short probe of one cell: a few real steps on the device that it is to run on, for what a run takes.

The run's own modules, views, batch and optimiser; only the weights of a teacher that does not exist yet are random,
on which neither time nor memory depends. A probe changes nothing for the runs that follow in its process.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file

from pat.config import RunConfig
from pat.data import Dataset, FilePart, load
from pat.io import LocalIO
from pat.memory import is_out_of_memory, release
from pat.steps import train_step
from pat.tasks import task_on
from pat.training import Training
from sweeps.costs.probe_file import Probe
from sweeps.costs.shared import shared_parts, synchronise
from sweeps.costs.sizes import checkpoint_bytes, student_bytes
from sweeps.engine.records import machine
from sweeps.study import Cell

STEPS, SECONDS = 12, 20.0
STABLE, SPREAD = 4, 1.1
"""Measuring ends when the last 4 measurements differ by less than a tenth."""
WARM_UP = 2
BLOCK = 4
"""Steps between two synchronisations with a GPU, which would otherwise wait for each step to be launched."""
SCORED = 256
"""Images of a timed scoring on a GPU."""
FEW = 2
"""Images of the first step on a CPU, which decides how large a batch there is time for."""


def probe(
    config: RunConfig,
    data_root: Path,
    teacher_file: Path | None,
    device: torch.device,
    steps: int = STEPS,
    workers: int = 1,
    seconds: float = SECONDS,
    cell: Cell | None = None,
) -> Probe:
    """Measure a run in this process: at most `steps` steps, and about `seconds` seconds after it is built.

    A GPU does the real share of the batch that one of `workers` gets. A CPU that is too slow for it does fewer images,
    and the time is scaled. Two steps are measured however long they take. Running out of memory is a result.
    `teacher_file`: the teacher's weights, None while there are none. `cell` names the probe (default: by the
    configuration). Raises ConfigError for whatever a run of `config` would raise it.
    """
    own = cell or Cell(config.teacher.name if config.teacher else "", config.student, config.method.name)
    result = Probe(*own, device=device_name(device), asked_workers=workers, workers=workers)
    with _no_trace(config.threads, device), TemporaryDirectory() as folder:
        dataset = load(config.data, data_root).to(device)
        if config.teacher is not None:
            teacher_file = teacher_file or _random_teacher(config, dataset, Path(folder))
            config = replace(config, teacher=replace(config.teacher, weights="run:probe"))
        config = replace(config, initial="", unsynced_workers=1)
        share, io = config.recipe.batch_size // workers, LocalIO(Path(folder), device=device)
        while True:
            found = _attempt(result, config, io, dataset, teacher_file, share, steps, seconds)
            release()
            if found is not None:
                return found
            if share % 2:
                return replace(result, workers=0)
            share, result = share // 2, replace(result, workers=result.workers * 2)


def device_name(device: torch.device) -> str:
    """The kind of device, as people know it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else machine()["cpu"]


@contextmanager
def _no_trace(threads: int, device: torch.device) -> Iterator[None]:
    """Torch's threads and random numbers are afterwards what they were."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        torch.set_num_threads(before)


def _random_teacher(config: RunConfig, dataset: Dataset, folder: Path) -> Path:
    assert config.teacher is not None
    task = task_on(config.task, config.data, dataset, config.teacher.image_size).for_teacher
    teacher = task.student(config.teacher.name, seed=0)
    save_file({name: tensor.contiguous() for name, tensor in teacher.state_dict().items()}, folder / "teacher")
    return folder / "teacher"


def _attempt(
    result: Probe,
    config: RunConfig,
    io: LocalIO,
    dataset: Dataset,
    teacher_file: Path | None,
    share: int,
    steps: int,
    seconds: float,
) -> Probe | None:
    """One try with a share of the batch; None if it does not fit. The error's traceback, which holds activations,
    ends here."""
    before = _resident(io.device)
    try:
        training = Training(config, io, dataset, teacher_file, None)
        batch, measured, step_seconds = _time_steps(training, config, dataset, share, steps, seconds)
        parts = shared_parts(training, config, dataset, batch)
        score_seconds = _time_scoring(training, dataset, seconds / 4) / result.asked_workers
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None
    doubled = result.workers / result.asked_workers  # a share that does not fit is done in so many parts
    trained = training.steps_per_epoch * step_seconds * doubled
    return replace(
        result,
        batch=batch,
        share=share,
        steps=measured,
        step_seconds=step_seconds,
        score_seconds=score_seconds,
        epoch_seconds=trained + score_seconds,
        views_seconds=trained * parts.views,
        plain_seconds=trained * parts.plain,
        peak_bytes=_peak(io.device, before) if batch == share else None,
        checkpoint_bytes=checkpoint_bytes(training.state(config)),
        student_bytes=student_bytes(training.product()),
    )


def _time_steps(
    training: Training, config: RunConfig, dataset: Dataset, share: int, steps: int, seconds: float
) -> tuple[int, int, float]:
    """Images of a measured step, how many were measured, and the seconds of a step of `share` images."""
    if training.io.device.type == "cuda":
        times = _run(training, config, dataset, share, steps, seconds, BLOCK)
        return share, len(times) * BLOCK, median(times)
    few = min(FEW, share)
    small = median(_run(training, config, dataset, few, 2, seconds / 4, 1))
    batch = share
    while batch > few and (WARM_UP + 2) * small * batch / few > seconds:
        batch //= 2
    if batch <= few:
        return few, 2, small / few * share
    times = _run(training, config, dataset, batch, steps, seconds, 1)
    typical = median(times)
    slope = max(0.0, (typical - small) / (batch - few))
    return batch, len(times), typical + slope * (share - batch)


def _run(
    training: Training, config: RunConfig, dataset: Dataset, batch: int, steps: int, seconds: float, block: int
) -> list[float]:
    """Seconds a step of each measured block of steps; at least two blocks. The start of decoding is left out.

    Where other processes decode ahead, what they have ready is used up first.
    """
    warm = WARM_UP + (2 * dataset.train.workers if isinstance(dataset.train, FilePart) else 0)
    steps = max(2 * block, steps - steps % block)
    task, train, needed = training.task, dataset.train, warm + steps
    epochs = range(-(-needed // (len(train) // batch)))
    order = torch.cat([task.batches(train, batch, config.seed, epoch) for epoch in epochs])[:needed]
    views = task.views(train, order, config.recipe, training.student, config.seed, 0)
    training.step_module.train()
    times: list[float] = []
    begun = start = time.perf_counter()
    for number, (indices, images, targets) in enumerate(views, start=1):
        train_step(training, config, images, targets, indices, number)
        if number < warm or (number - warm) % block:
            continue
        synchronise(training.io.device)
        now = time.perf_counter()
        if number > warm:
            times.append((now - start) / block)
        start = now
        last = times[-STABLE:]
        if len(times) >= 2 and (now - begun > seconds or (len(last) == STABLE and max(last) < SPREAD * min(last))):
            break
    return times


def _time_scoring(training: Training, dataset: Dataset, seconds: float) -> float:
    """Seconds in which one process scores validation and test, raw and EMA, after an epoch.

    From two timings of different length: what every pass over images costs at its start (the processes that decode),
    and what every image adds. The start of training's own pass is counted here.
    """
    split, unit = dataset.test, SCORED if training.io.device.type == "cuda" else FEW

    def timed(images: int) -> float:
        start = time.perf_counter()
        training.method.score(training.student, split.take(torch.arange(images)))
        synchronise(training.io.device)
        return time.perf_counter() - start

    unit = min(unit, len(split))
    timed(unit)
    short = timed(unit)
    images = min(len(split), max(2 * unit, min(2 * SCORED, int(unit * seconds / short))))
    slope = (timed(images) - short) / (images - unit) if images > unit else short / unit
    each = max(slope, 0.0)
    to_start = max(0.0, short - unit * each)
    scored = [len(part) for part in (dataset.val, dataset.test) if len(part)] * (2 if training.ema else 1)
    return to_start * (len(scored) + 1) + each * sum(scored)


def _resident(device: torch.device) -> int | None:
    """Bytes that this process holds, from where its peak is counted anew; None where the system does not say."""
    if device.type == "cuda":
        return None
    try:
        release()
        ctypes.CDLL(None).malloc_trim(0)  # what an earlier probe has left would hide what this one takes
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except (OSError, AttributeError, KeyError):
        return None


def _peak(device: torch.device, before: int | None) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return None if before is None else max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    """A number of /proc/self/status, in bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024

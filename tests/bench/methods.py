"""What a step of each method costs beside a step of its student alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

from pat.methods import Method, Task, create_method
from pat.models import create_model
from sweeps.presets import preset
from tests.bench.step import seconds, spread

BATCH, ROUNDS, CLASSES, IMAGES = 64, 7, 100, 45_000


def report() -> None:
    """Prints the median of ratios over interleaved rounds; the first round warms up."""
    torch.set_num_threads(1)
    study = preset("cifar100-small-methods")
    print(f"forward + backward over scratch's: CPU time, batch {BATCH}, 32 px, fp32, 1 thread, {ROUNDS} rounds,")
    print(f"options of the study {study.name} (CRD remembers {IMAGES:,} images), median (min - max)")
    for teacher, student in study.pairs:
        steps = {name: _step(name, student, teacher, study.options.get(name, {})) for name in study.methods}
        scratch = _step("scratch", student, teacher, {})
        rounds = [
            {name: seconds(step) / base for name, step in steps.items()}
            for base in (seconds(scratch) for _ in range(ROUNDS + 1))
        ][1:]
        print(f"{teacher} -> {student}")
        for name in steps:
            ratios = tuple(each[name] for each in rounds)
            print(f"  {name:8} {spread(ratios)}   {'=' * round(4 * statistics.median(ratios))}")


def _step(name: str, student: str, teacher: str, options: dict[str, object]) -> Callable[[], None]:
    """A training step without its optimiser, on a fixed batch."""
    torch.manual_seed(0)
    models = create_model(student, CLASSES, 32), None if name == "scratch" else create_model(teacher, CLASSES, 32)
    task = Task(32, torch.arange(IMAGES) % CLASSES)
    method: Method = create_method(name, *models, task, **options).to(memory_format=torch.channels_last).train()
    images = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    targets, indices = torch.eye(CLASSES)[torch.arange(BATCH)], torch.arange(BATCH)

    def run() -> None:
        method(images, targets, indices)["loss"].backward()

    return run

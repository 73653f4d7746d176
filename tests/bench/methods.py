"""What a step of each method costs beside a step of its student alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import Tensor

from pat.config import Data, Task
from pat.methods import Method, create_method
from pat.models import create_model
from pat.tasks import create_task
from sweeps.presets import preset
from sweeps.study import SCRATCH
from tests.bench.clock import interleaved, spread
from tests.bench.compare import Tolerance

BATCH, ROUNDS, CLASSES, IMAGES = 64, 40, 100, 45_000
_TEACHER = "teacher"
TOLERANCE = Tolerance(0.25)
"""Medians differed by up to 7 % between runs on two busy cores (OFA once by 15 %; CRD, whose memory is 46 MB, by 19 %),
and from AVX-512 to AVX2 by -4 to +5 %, OFA +9 %, CRD +12 %, PAT +22 %. Without AVX2 they fell, by up to 34 %."""


def report() -> dict[str, float]:
    """Prints each method's step over scratch's; gives it over scratch's and the teacher's forward, which all need.

    How fast a teacher is beside a student depends on the CPU, and is no method's doing. Medians of rounds.
    """
    torch.set_num_threads(1)
    study = preset("cifar100-small-methods")
    print(f"forward + backward over scratch's: CPU time, batch {BATCH}, 32 px, fp32, 1 thread, {ROUNDS} rounds,")
    print(f"options of the study {study.name} (CRD remembers {IMAGES:,} images), median (min - max)")
    ratios = {}
    for teacher, student in study.pairs:
        steps = {name: step(name, student, teacher, study.options.get(name, {})) for name in (SCRATCH, *study.methods)}
        times = interleaved({**steps, _TEACHER: _forward(teacher)}, ROUNDS)
        print(f"{teacher} -> {student}")
        for name in study.methods:
            over = [each / scratch for each, scratch in zip(times[name], times[SCRATCH], strict=True)]
            print(f"  {name:8} {spread(over)}   {'=' * round(4 * median(over))}", flush=True)
            floors = zip(times[name], times[SCRATCH], times[_TEACHER], strict=True)
            over_floor = median(each / (scratch + told) for each, scratch, told in floors)
            ratios[f"{teacher} -> {student}/{name} over scratch and teacher"] = over_floor
    return ratios


def _images() -> Tensor:
    return torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)


def _forward(teacher: str) -> Callable[[], Tensor]:
    torch.manual_seed(0)
    model = create_model(teacher, CLASSES, 32).to(memory_format=torch.channels_last).eval()
    return torch.no_grad()(partial(model, _images()))


def step(name: str, student: str, teacher: str, options: dict[str, object]) -> Callable[[], None]:
    """A training step without its optimiser, on a fixed batch."""
    torch.manual_seed(0)
    models = create_model(student, CLASSES, 32), None if name == SCRATCH else create_model(teacher, CLASSES, 32)
    task = create_task(Task(), Data("cifar100", 32), CLASSES, torch.arange(IMAGES) % CLASSES)
    method: Method = create_method(name, *models, task, **options).to(memory_format=torch.channels_last).train()
    images = _images()
    targets, indices = torch.eye(CLASSES)[torch.arange(BATCH)], torch.arange(BATCH)

    def run() -> None:
        method(images, targets, indices)["loss"].backward()

    return run

"""What a step of each method costs beside a step from scratch where there are boxes or masks, and where PAT's goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch

from pat.config import Data, Task
from pat.data import BoxTargets
from pat.methods import create_method
from pat.tasks import create_task
from pat.views import Views
from sweeps.study import SCRATCH
from tests.bench.clock import interleaved, spread
from tests.bench.compare import Tolerance

STUDENT, TEACHER = "resnet18", "swin_tiny_patch4_window7_224"
IMAGES, ROUNDS, CLASSES = 2, 5, 80
SIZE = 160
TASKS = {"detection": Data("coco", SIZE), "segmentation": Data("voc", SIZE)}
OPTIONS: dict[str, dict[str, Any]] = {
    "detection": {"longest": 224, "freeze_norm": False, "anchors": (16.0, 32.0, 64.0, 128.0, 256.0)},
    "segmentation": {},
}
PAT: dict[str, Any] = {"region_dim": 64, "heads": 8, "feedback": "current"}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "kd": ("kd", {}),
    "fitnet": ("fitnet", {"kd_weight": 1.0}),
    "pat": ("pat", PAT),
    "pat, prompts at the last stage alone": ("pat", {**PAT, "prompt_depth": 1}),
    "pat, no prompts": ("pat", {**PAT, "prompt_depth": 0}),
}
TOLERANCE = Tolerance(0.3)
"""Of medians of a few rounds on two busy cores."""


def report() -> dict[str, float]:
    """Prints each method's step over scratch's and gives the medians."""
    torch.set_num_threads(1)
    ratios = {}
    for name, data in TASKS.items():
        task = create_task(Task(name, OPTIONS[name]), data, CLASSES)
        height, width = task.canvas
        print(f"{name}, forward + backward over scratch's: {TEACHER} -> {STUDENT}, {IMAGES} of {width} x {height} px")
        views = _views(task.blank(IMAGES, torch.device("cpu")))
        steps = {SCRATCH: _step(task, SCRATCH, {}, views)}
        steps |= {label: _step(task, method, options, views) for label, (method, options) in METHODS.items()}
        times = interleaved(steps, ROUNDS)
        for label in METHODS:
            over = [each / scratch for each, scratch in zip(times[label], times[SCRATCH], strict=True)]
            print(f"  {label:38} {spread(over)}   {'=' * round(4 * median(over))}", flush=True)
            ratios[f"{name}/{label}"] = median(over)
    return ratios


def _views(blank: Views) -> Views:
    """Noise in place of nothing, and random bits to sample by."""
    torch.manual_seed(0)
    images = torch.randn_like(blank.images).contiguous(memory_format=torch.channels_last)
    targets = blank.targets
    if isinstance(targets, BoxTargets):
        keys = torch.randint(1 << 62, targets.keys.shape)
        targets = BoxTargets(targets.boxes, targets.labels, targets.counts, targets.sizes, keys)
    return Views(blank.indices, images, targets)


def _step(task: Any, method: str, options: Mapping[str, Any], views: Views) -> Callable[[], None]:
    """A training step without its optimiser, on a fixed batch."""
    teacher = None if method == SCRATCH else task.student(TEACHER, 1)
    regions = {"regions": (25,) * len(task.levels(task.taps(teacher)))} if method == "pat" else {}
    built = create_method(method, task.student(STUDENT, 0), teacher, task, **options, **regions)
    built = built.to(memory_format=torch.channels_last).train()

    def run() -> None:
        built(views.images, views.targets, views.indices)["loss"].backward()

    return run

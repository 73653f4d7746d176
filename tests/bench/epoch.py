"""What an epoch is made of - views, steps, scores - how many operations torch is asked for in one, and what a step
takes over the plainest loop of the same arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pat.config import RunConfig
from pat.losses import cross_entropy, kd_loss
from pat.steps import train_step
from pat.tasks import Score
from pat.training import Training
from pat.views import Views
from sweeps.presets import preset
from sweeps.study import SCRATCH
from tests.bench.clock import interleaved, spread
from tests.bench.compare import Tolerance
from tests.bench.lockstep import runs

METHODS, ROUNDS = (SCRATCH, "kd", "pat"), 9
TRAINED, SCORED = 45_000, 15_000
"""Images of an epoch of CIFAR-100, with its validation images held out."""
TOLERANCE = Tolerance(0.25)
_WAITS = (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero)


class Count(TorchDispatchMode):
    """Operations that are dispatched, and those of them whose content the host waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.all = self.waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.all += 1
        self.waits += func._overloadpacket in _WAITS
        return func(*args, **(kwargs or {}))


def report() -> dict[str, float]:
    """Prints shares, operations and ratios; gives the share of scores and of all that is no step, the operations over
    those of a scratch step, and steps over plain loops."""
    torch.set_num_threads(1)
    study = preset("cifar100-small-methods")
    print(f"an epoch of {TRAINED:,} images, {SCORED:,} scored raw and averaged: CPU time, 1 thread, {ROUNDS} rounds")
    ratios: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        for number, (teacher, student) in enumerate(study.pairs):
            for method in METHODS if number == 0 else (SCRATCH, "kd"):
                config, dataset, (training,), _ = runs(study, teacher, student, method, 1, Path(folder))
                name = f"{teacher} -> {student}/{method}"
                calls = _calls(training, config, dataset)
                plain = {} if method == "pat" else {"plain": plain_step(training, config, calls["views"]())}
                times = interleaved({**calls, **plain}, ROUNDS)
                found = _shares({part: median(took) for part, took in times.items()}, config.recipe.batch_size)
                print(f"{name:55}" + ", ".join(f"{part} {share:.1%}" for part, share in found.items()))
                ratios[f"{name}/scoring of an epoch"] = found["scoring"]
                if plain:
                    over = [own / least for own, least in zip(times["step"], times["plain"], strict=True)]
                    print(f"  step over a plain loop's: {spread(over)}", flush=True)
                    ratios[f"{name}/step over a plain loop's"] = median(over)
                if number == 0:
                    ratios |= {f"{name}/{what}": count for what, count in _operations(calls).items()}
    return ratios


def _calls(training: Training, config: RunConfig, dataset: Any) -> dict[str, Callable[[], Any]]:
    """A batch's views, a step on it, and the scores of as many images."""
    task, train, batch = training.task, dataset.train, config.recipe.batch_size
    order = task.batches(train, batch, config.seed, 0)[:1]
    training.step_module.train()
    student, scored = training.student, train.take(order[0])
    averages = [training.ema.module] if training.ema else []

    def views() -> Views:
        return next(task.views(train, order, config.recipe, student, config.seed, 0))

    indices, images, targets = views()

    def step() -> dict[str, Tensor]:
        return train_step(training, config, images, targets, indices, 0)

    def scores() -> list[Score]:
        return training.method.scores([student, *averages], scored)

    return {"views": views, "step": step, "scoring": scores}


def plain_step(training: Training, config: RunConfig, views: Views) -> Callable[[], None]:
    """The same models, losses, optimiser and average in the fewest lines."""
    recipe, (_, images, targets) = config.recipe, views
    student, teacher = copy.deepcopy(training.student).train(), training.method.teacher
    average = copy.deepcopy(student)
    adamw = torch.optim.AdamW(student.parameters(), lr=1e-3, weight_decay=recipe.weight_decay, fused=True)

    def step() -> None:
        adamw.zero_grad(set_to_none=True)
        logits = student(images)
        loss = cross_entropy(logits, targets)
        if teacher is not None:
            with torch.no_grad():
                told = teacher(images)
            loss = loss + kd_loss(logits, told, 1.0)
        loss.backward()
        if recipe.clip_grad:
            torch.nn.utils.clip_grad_norm_(student.parameters(), recipe.clip_grad)
        adamw.step()
        if recipe.ema_decay:
            with torch.no_grad():
                torch._foreach_lerp_([*average.parameters()], [*student.parameters()], 1 - recipe.ema_decay)

    return step


def _shares(seconds: dict[str, float], batch: int) -> dict[str, float]:
    """Of an epoch. Scores were timed for `batch` images."""
    steps = TRAINED // batch
    whole = {"views": steps * seconds["views"], "step": steps * seconds["step"]}
    whole["scoring"] = SCORED / batch * seconds["scoring"]
    return {part: took / sum(whole.values()) for part, took in whole.items()}


def _operations(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    found = {}
    for part in ("views", "step"):
        with Count() as count:
            calls[part]()
        waits = f", {count.waits} of them read by the host" if part == "step" else ""  # views draw on the CPU
        print(f"  operations of {part}: {count.all:,}{waits}")
        found[f"operations of {part}"] = float(count.all)
    return found

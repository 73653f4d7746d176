"""Measures what a run's step has in common with those of runs that are trained beside it (`pat.lockstep`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from pat.config import RunConfig
from pat.data import Dataset
from pat.plain import Question, SharedPass
from pat.steps import train_step
from pat.training import Training

T = TypeVar("T")
STEPS = 3
"""Timed steps; the first one is left out."""


class Parts(NamedTuple):
    """The shares of a step's time that go into its views and into the teacher's plain passes."""

    views: float
    plain: float


def shared_parts(training: Training, config: RunConfig, dataset: Dataset, batch: int) -> Parts:
    """Those of a step of `batch` images: of a few steps the fastest one's."""
    task, train, device, before = training.task, dataset.train, training.io.device, training.method.passes
    order = task.batches(train, batch, config.seed, 0)[:STEPS]
    order = order.repeat(-(-STEPS // len(order)), 1)[:STEPS]
    views = task.views(train, order, config.recipe, training.student, config.seed, 0)
    training.step_module.train()
    found: list[tuple[float, Parts]] = []
    try:
        for number in range(STEPS):
            training.method.passes = passes = _Timed(device)
            made, (indices, images, targets) = timed(device, lambda: next(views))
            arguments = training, config, images, targets, indices, number
            took, _ = timed(device, lambda: train_step(*arguments))  # noqa: B023
            found.append((made + took, Parts(made / (made + took), passes.seconds / (made + took))))
    finally:
        training.method.passes = before
    return min(found[1:])[1]


def timed(device: torch.device, call: Callable[[], T]) -> tuple[float, T]:
    """The seconds that a call takes on a device, and what it gives."""
    synchronise(device)
    start = time.perf_counter()
    found = call()
    synchronise(device)
    return time.perf_counter() - start, found


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Timed(SharedPass):
    """The passes of a teacher for one run, and the `seconds` that they take."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device, self.seconds = device, 0.0

    def images(self, given: Tensor, make: Callable[[], Tensor]) -> Tensor:
        seconds, found = timed(self._device, lambda: super(_Timed, self).images(given, make))
        self.seconds += seconds
        return found

    def answers(self, images: Tensor, questions: Sequence[Question]) -> tuple[Any, ...]:
        seconds, found = timed(self._device, lambda: super(_Timed, self).answers(images, questions))
        self.seconds += seconds
        return found

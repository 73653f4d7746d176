"""A whole optimiser step as one CUDA graph: recorded from buffers that stay where they are, then played back, so that
nobody waits for hundreds of kernels to be launched.

Off unless a run is asked for it (`Member.captured`), because no GPU has shown it yet. What does not suit is done step
by step as ever: several workers, gradients in parts, teachers that are shared with other runs, targets that are no
tensors, an optimiser that is not fused or is one's own, a batch of another shape, and what refuses to be recorded. On
the CPU the same buffers are filled and the same step is simply called: the same bits. On a GPU the learning rate is
rounded to float32, and dropout draws other numbers than step by step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from pat.config import RunConfig
from pat.steps import learn, seeded, train_step
from pat.training import Training
from pat.views import Views

Losses = dict[str, Tensor]
Body = Callable[[], Losses]
WARM_UP = 3
"""Steps before one is recorded: what is made on the way - moments, memories - has its place then."""


class Recorder(Protocol):
    """How a step is done until it is recorded, and what plays it back from then on."""

    def warm(self, body: Body) -> Losses: ...

    def record(self, body: Body) -> Body:
        """Nothing is computed yet."""


class Called:
    """In the place of a graph: the step is called each time."""

    def warm(self, body: Body) -> Losses:
        return body()

    def record(self, body: Body) -> Body:
        return body


class Graph:
    """A CUDA graph. Torch's generator is seeded before each replay, which reads the seed from there."""

    def warm(self, body: Body) -> Losses:
        """Beside the current stream, as what follows will be."""
        side, now = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(now)
        with torch.cuda.stream(side):
            losses = body()
        now.wait_stream(side)
        return losses

    def record(self, body: Body) -> Body:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            losses = body()

        def play() -> Losses:
            graph.replay()
            return losses

        return play


class CapturedSteps:
    """The steps of one epoch of a run, as `train_step` does them. What a method changes between epochs stays."""

    def __init__(self, training: Training, config: RunConfig, recorder: Recorder | None = None) -> None:
        device = training.io.device
        self._training, self._config = training, config
        self._recorder = recorder or (Graph() if device.type == "cuda" else Called())
        self._inputs: tuple[Tensor, Tensor, Tensor] | None = None
        self._warm = WARM_UP
        self._play: Body | None = None
        self._suits = suits(training)
        precise = torch.float32 if device.type == "cuda" else torch.float64  # as the fused kernels read it
        groups = training.optimizer.param_groups
        self._rates = [torch.zeros((), dtype=precise, device=device) for _ in groups]
        self._share = torch.zeros((), device=device)

    def __call__(self, images: Tensor, targets: Any, indices: Tensor, step: int) -> Losses:
        """One optimiser step; the losses are the caller's own."""
        if not self._suits or not self._holds(images, targets, indices):
            return train_step(self._training, self._config, images, targets, indices, step)
        seeded(self._config, step)
        self._set(step)
        if self._warm:
            self._warm -= 1
            losses = self._recorder.warm(self._body)
        else:
            self._play = self._play or self._recorded()
            if self._play is None:
                return train_step(self._training, self._config, images, targets, indices, step)
            losses = self._play()
        return {name: value.clone() for name, value in losses.items()}

    def _holds(self, *given: Any) -> bool:
        """Copies a batch to where the step reads it; not if it has another shape."""
        if not all(isinstance(x, Tensor) for x in given):
            return False
        if self._inputs is None:
            images, targets, indices = (torch.empty_like(x) for x in given)
            self._inputs = images, targets, indices
        if any(own.shape != x.shape or own.dtype != x.dtype for own, x in zip(self._inputs, given, strict=True)):
            return False
        for own, x in zip(self._inputs, given, strict=True):
            own.copy_(x, non_blocking=True)
        return True

    def _set(self, step: int) -> None:
        """What is another number in each step: the learning rates, and how much the average takes of the student."""
        for rate, group in zip(self._rates, self._training.optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])
        if ema := self._training.ema:
            self._share.fill_(1.0 - ema.get_decay(step + 1))

    def _recorded(self) -> Body | None:
        kept, self._suits = _buffers(self._training), False
        try:
            play = self._recorder.record(self._body)
        except RuntimeError as error:
            _put_back(self._training, kept)
            self._training.method.zero_grad(set_to_none=True)
            reason = (str(error).strip().splitlines() or ["no reason"])[0]
            print(f"steps are not captured: {self._config.method.name}: {reason}", file=sys.stderr, flush=True)
            return None
        self._suits = True
        return play

    def _body(self) -> Losses:
        """The step, of the buffers alone; what it replaces is put back to its place with what it has become."""
        training, places = self._training, _buffers(self._training)
        assert self._inputs is not None
        groups = training.optimizer.param_groups
        kept = [dict(group) for group in groups]
        try:
            for group, rate in zip(groups, self._rates, strict=True):
                group["lr"] = rate
                if rate.is_cuda and "capturable" in group:  # else the kinds of Adam refuse to be recorded
                    group["capturable"] = True
            losses = learn(training, self._config, *self._inputs)
        finally:
            for group, before in zip(groups, kept, strict=True):
                group.update(before)
        if training.ema:
            _average(training.ema.module, training.student, self._share)
        _keep_places(training, places)
        return losses


def suits(training: Training) -> bool:
    """Whether steps of a run can be captured, as far as can be told before."""
    alone = training.io.world_size == 1 and training.measures.accumulation == 1 and training.method.passes is None
    fused = all(group.get("fused") for group in training.optimizer.param_groups)
    return alone and fused and not training.own_optimizers


def one_ahead(views: Iterator[Views], device: torch.device) -> Iterator[Views]:
    """Batches, each made on a stream of its own while a GPU is still at the step before. On a CPU: as they come."""
    if device.type != "cuda":
        yield from views
        return
    side = torch.cuda.Stream(device)

    def made() -> Views | None:
        with torch.cuda.stream(side):
            return next(views, None)

    following = made()
    while (batch := following) is not None:
        now = torch.cuda.current_stream(device)
        now.wait_stream(side)
        for tensor in batch:
            if isinstance(tensor, Tensor) and tensor.is_cuda:
                tensor.record_stream(now)
        following = made()
        yield batch


def _buffers(training: Training) -> dict[str, Tensor]:
    named = training.method.named_buffers()
    return {name: buffer for name, buffer in named if not name.startswith("teacher.")}


def _keep_places(training: Training, before: dict[str, Tensor]) -> None:
    """A buffer that has been replaced by another of its shape is where it was before, with what it has become."""
    replaced = {}
    for name, now in _buffers(training).items():
        place = before.get(name)
        if place is not None and place is not now and place.shape == now.shape:
            place.copy_(now)
            replaced[name] = place
    _put_back(training, replaced)


def _put_back(training: Training, buffers: dict[str, Tensor]) -> None:
    for name, buffer in buffers.items():
        module, _, own = name.rpartition(".")
        setattr(training.method.get_submodule(module), own, buffer)


@torch.no_grad()
def _average(average: torch.nn.Module, student: torch.nn.Module, share: Tensor) -> None:
    """As `ModelEmaV3.update`: `share` of the student is taken in."""
    pairs = list(zip(average.state_dict().values(), student.state_dict().values(), strict=True))
    ours, theirs = ([pair[side] for pair in pairs if pair[0].is_floating_point()] for side in (0, 1))
    torch._foreach_lerp_(ours, theirs, [share] * len(ours))
    for own, other in pairs:
        if not own.is_floating_point():
            own.copy_(other)

"""What a run costs by its arithmetic alone: the last resort of a forecast, where no device can be asked.

Everything is counted on meta tensors, which have shapes and no content: nothing is computed and no memory is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, reduce
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pat import config
from pat.config import Recipe, RunConfig
from pat.methods import Method, create_method
from pat.taps import Tapped
from pat.tasks import Seen, Task, create_task
from sweeps.costs.known import known
from sweeps.costs.shapes import Counter

K = TypeVar("K", bound=Hashable)
META = torch.device("meta")
BATCH = 2
"""Images of a counted step; what is counted is in proportion to them."""


LARGE = 0.1
"""The share of all parameters from which a method's own modules are counted: a count takes a second."""


@dataclass(frozen=True)
class Work:
    """FLOP (a multiply-add is 2) for an image, and the tensor operations of a call whatever its batch."""

    flop: float = 0.0
    operations: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.flop + other.flop, self.operations + other.operations)

    def __sub__(self, other: Work) -> Work:
        return Work(self.flop - other.flop, self.operations - other.operations)


@dataclass(frozen=True)
class Count:
    """A training step (forward, backward, teacher and method), a forward pass that scores, the run's files in bytes; of
    the step, the teacher's plain pass."""

    step: Work
    score: Work
    checkpoint_bytes: int
    student_bytes: int
    plain: Work = Work()


def count(run: RunConfig, num_classes: int) -> Count:
    """What a run of `run` computes. Raises ConfigError for models and options that cannot be used."""
    task, method = _task_of(run, num_classes), method_on_meta(run, num_classes).train()
    plain = _forward(task.for_teacher, run.teacher.name) if run.teacher else Work()
    step = _whole_step(method, task) or _student_step(task, run.student) + plain
    score = _scored_by(method, task) if task.own_methods else _forward(task, run.student)
    weights = _bytes(method.student.state_dict())
    return Count(step, score, _checkpoint(method, weights, run.recipe), weights, plain)


def counts(runs: Mapping[K, tuple[RunConfig, int]], say: Callable[[str], None]) -> dict[K, Count]:
    """The same of runs on data sets of so many classes; what has been counted once is known. What takes long is said
    every few seconds."""
    found = known("counts", lambda run, classes: asdict(count(run, classes)), runs, "counting what runs compute", say)
    return {key: _read(one) for key, one in found.items()}


def _read(kept: Mapping[str, Any]) -> Count:
    values: dict[str, Any] = {name: Work(**part) if isinstance(part, dict) else part for name, part in kept.items()}
    return Count(**values)


def forward_flop(task: Task, name: str) -> float:
    """FLOP of a forward of one image through the task's model with timm's `name` in it."""
    return _forward(task, name).flop


def method_on_meta(run: RunConfig, num_classes: int) -> Method:
    """The method of a run and its models, shapes alone. Raises ConfigError for what cannot be used together."""
    task = _task_of(run, num_classes)
    student = _on_meta(task, run.student, "student")
    teacher = _on_meta(task.for_teacher, run.teacher.name, "teacher") if run.teacher else None
    with Counter():
        return create_method(run.method.name, student, teacher, task, **run.method.options).to("meta")


def _whole_step(method: Method, task: Task) -> Work | None:
    """A step of a method with large modules of its own or more passes of the models; None where the others' cost says
    enough, or where shapes alone do not suffice to count it. Where a method remembers samples, the second step, which
    has some to remember."""
    everything = dict(method.named_parameters())
    own = sum(p.numel() for name, p in everything.items() if not name.startswith(("student.", "teacher.")))
    if not method.extra_passes and own < LARGE * sum(p.numel() for p in everything.values()):
        return None
    indices, images, targets = task.blank(BATCH, META)
    method.task = _Outlined(task)  # type: ignore[assignment]
    try:
        if method.per_sample:
            with Counter():
                method(images, targets, indices)
        return _counted(lambda: method(images, targets, indices)["loss"].backward())
    except (RuntimeError, NotImplementedError):
        return None


class _Outlined:
    """A task that sees shapes alone."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def see(
        self, model: nn.Module, images: Tensor, targets: Any = None, like: Any = None, tapped: Tapped | None = None
    ) -> Seen:
        return self._task.outline(model, images, True, tapped)


def _task_of(run: RunConfig, num_classes: int) -> Task:
    return _task(run.task, run.data, num_classes, run.teacher.image_size if run.teacher else 0)


@lru_cache(maxsize=16)
def _task(task: config.Task, data: config.Data, num_classes: int, teacher_size: int) -> Task:
    """The task; training images of all classes are remembered by methods that do."""
    return create_task(task, data, num_classes, torch.arange(2 * num_classes) % num_classes, teacher_size)


@lru_cache(maxsize=256)
def _student_step(task: Task, name: str) -> Work:
    model, views = _on_meta(task, name, "student").train(), task.blank(BATCH, META)

    def step() -> None:
        reduce(torch.add, task.losses(task.outline(model, views.images, True), views.targets).values()).backward()

    return _counted(step)


def _scored_by(method: Method, task: Task) -> Work:
    """A pass that scores where the method does it, of all that it is made of."""
    indices, images, targets = task.blank(BATCH, META)
    with torch.no_grad():
        return _counted(lambda: method.eval()(images, targets, indices))


@lru_cache(maxsize=256)
def _forward(task: Task, name: str) -> Work:
    model, views = _on_meta(task, name, "student").eval(), task.blank(BATCH, META)
    with torch.no_grad():
        return _counted(lambda: task.outline(model, views.images, False))


@lru_cache(maxsize=64)
def _on_meta(task: Task, name: str, role: str) -> nn.Module:
    with META:
        return task.build(name, task.num_classes)


def _counted(call: Callable[[], Any]) -> Work:
    with Counter() as counter:
        call()
    return Work(counter.flop / BATCH, counter.operations)


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _checkpoint(method: Method, student: int, recipe: Recipe) -> int:
    """All that is learnt, the optimiser's moments of it (two for the kinds of Adam, else one), and the EMA."""
    state = {name: value for name, value in method.state_dict().items() if not name.startswith("teacher.")}
    trainable = sum(p.numel() * p.element_size() for p in method.parameters() if p.requires_grad)
    moments = 2 if "adam" in recipe.optimizer or "lamb" in recipe.optimizer else 1
    return _bytes(state) + moments * trainable + (student if recipe.ema_decay else 0)

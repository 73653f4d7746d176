"""The contract of a distillation method, and the registry of methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pat.counter import hash_numbers
from pat.dense.valid import valid_area
from pat.errors import ConfigError, unknown
from pat.groups import Group
from pat.models import normalisation
from pat.options import VARIANT, complete_options, declare, signature_defaults, signature_hints
from pat.plain import Logits, Question, SharedPass, answers
from pat.taps import StageTaps, Tapped
from pat.tasks import Score, Seen, Task, task_class
from pat.tasks.classification import task_for

Losses = dict[str, Tensor]
"""`loss` (total, scalar), `output` (student logits [N, C]) and named scalar parts."""
Parts = dict[str, tuple[float | Tensor, Tensor]]
"""Parts of a loss by name: the weight of each, and its value."""


class Method(nn.Module):
    """A student, a frozen teacher and the loss between them, as one module.

    The keyword-only arguments of a method's `__init__` are its options. It talks to models through `see` and `told`,
    and so serves every task that it names in `tasks`. Images come normalised for the student; the teacher gets them
    renormalised for itself and at its own size (`Task.for_teacher`, of which its taps are asked). A buffer named in
    `per_sample` has one row for each image of the batch. Whatever couples images is computed over the global batch
    (`pat.gather`); a method whose loss is a mean over images, each by itself, says `couples_samples = False`, so that
    a batch may be done in parts. One with modules of its own to which a step may give no gradient says
    `unused_parameters = True`.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    """The tasks that it can be used for; empty for any."""
    teacherless: ClassVar[bool] = False
    """Whether it takes no teacher."""
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named sets of other defaults; its option `variant` names one, at first the first."""
    later: ClassVar[tuple[str, ...]] = ()
    """Options that joined after runs had been addressed, beside those of its bases: no part of a run's identity where
    they have their default, which must be what was so before."""
    extra_passes: ClassVar[bool] = False
    """Whether a step runs other things than the student's own step, a forward pass of the teacher and small modules."""
    per_sample: tuple[str, ...] = ()
    couples_samples: bool = True
    recomputable: ClassVar[bool] = True
    """Whether the student's activations may be computed anew in the backward pass, by calls of its modules alone."""
    unused_parameters: bool = False
    passes: SharedPass | None = None
    """The plain passes of its teacher, where other methods ask them too."""
    teacher_scale: Tensor
    teacher_shift: Tensor

    def __init__(self, student: nn.Module, teacher: nn.Module | None, task: Task) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher
        self.task = task
        for role, model in (("student", student), ("teacher", teacher)):
            if model is not None:
                task.check_model(role, model)
        if teacher is None:
            return
        teacher.requires_grad_(False).eval()
        (mean, std), (teacher_mean, teacher_std) = (_columns(normalisation(model)) for model in (student, teacher))
        self.register_buffer("teacher_scale", std / teacher_std, persistent=False)
        self.register_buffer("teacher_shift", (mean - teacher_mean) / teacher_std, persistent=False)

    def __setattr__(self, name: str, value: Any) -> None:
        """ConfigError for another student or teacher than the one whose taps and projectors were built."""
        if name in ("student", "teacher") and self.__dict__.get("_modules", {}).get(name, value) is not value:
            raise ConfigError(
                f"method.{name}: it cannot be replaced, the method is built on it; hand another one to create_method, "
                f"or compile the whole method, or this model in place: method.{name}.compile()"
            )
        super().__setattr__(name, value)

    def __call__(self, images: Tensor, targets: Any, indices: Tensor | None = None) -> Losses:
        """As `forward`. Raises ConfigError for a batch that is not of the task."""
        self.task.check_batch(images, targets)
        return super().__call__(images, targets, indices)

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        """Student-normalised images [B, 3, H, W] and the task's targets (for classification: distributions [B, C] or
        classes [B]) -> losses.

        `indices` int64 [B]: which training images they are, for a method that remembers them.
        """
        raise NotImplementedError

    def begin_epoch(self, epoch: int) -> None:
        """Called by the training loop before the steps of an epoch (from 0), for what depends on how far a run is."""

    def for_teacher(self, images: Tensor, sizes: Tensor | None = None) -> Tensor:
        """The same images, normalised for the teacher; what lies beyond their `sizes` (`Seen.sizes`) stays 0.

        For a teacher with a size of its own they are resized to it: bicubic, with antialiasing where it is smaller, on
        the device that has them; the same bits each time. A larger teacher is shown no more than the student is.
        """
        if self.passes:
            return self.passes.images(images, lambda: self._for_teacher(images, sizes))
        return self._for_teacher(images, sizes)

    def _for_teacher(self, images: Tensor, sizes: Tensor | None) -> Tensor:
        renormalised = images * self.teacher_scale + self.teacher_shift
        if (size := self.task.for_teacher.canvas) != self.task.canvas:
            return F.interpolate(renormalised, size, mode="bicubic", align_corners=False, antialias=True)
        canvas = (images.shape[2], images.shape[3])
        return renormalised if sizes is None else renormalised * valid_area(sizes, canvas, canvas)

    def see(self, images: Tensor, targets: Any, taps: StageTaps | None = None) -> Seen:
        """What the student makes of images; with its `taps`, their maps too."""
        return self.task.see(self.student, images, targets, tapped=taps(images) if taps else None)

    def told(self, images: Tensor, seen: Seen, taps: StageTaps | None = None) -> Seen:
        """What the teacher makes of the samples that the student has `seen`, without gradient."""
        assert self.teacher is not None
        asked = taps or self.task.for_teacher.own_taps(self.teacher) or Logits(self.teacher)
        images = self.for_teacher(images, seen.sizes)
        (tapped,) = self.ask(images, asked)
        with torch.no_grad():
            return self.judge(images, seen, tapped)

    @torch.no_grad()
    def ask(self, images: Tensor, *questions: Question) -> tuple[Any, ...]:
        """The answers to questions about the teacher's plain pass over images that `for_teacher` gave, all of one pass,
        without gradient: its taps, what these remember, its embedding."""
        return self.passes.answers(images, questions) if self.passes else answers(images, questions)

    def judge(self, images: Tensor, seen: Seen, tapped: Tapped | None = None) -> Seen:
        """What the teacher makes of those samples, of images that are normalised for it and what its taps gave."""
        assert self.teacher is not None
        return self.task.see(self.teacher, images, like=seen, tapped=tapped)

    def result(self, seen: Seen, targets: Any, **weighted: tuple[float | Tensor, Tensor]) -> Losses:
        """The task's own losses plus each part times its weight, and every part by its name."""
        own = self.task.losses(seen, targets)
        loss: Tensor = sum(own.values()) + sum(weight * part for weight, part in weighted.values())  # type: ignore[assignment]
        parts = own | {name: part for name, (_, part) in weighted.items()}
        named = {name: part.detach() for name, part in parts.items()} if len(parts) > 1 else {}
        return {"loss": loss, "output": seen.logits, **named}

    def score(self, model: nn.Module, split: Any, rank: int = 0, world: int = 1) -> Score:
        """The score of the student, or of `model`, an average of it over the training."""
        return self.task.score(model, split, rank, world)

    def scores(self, models: Sequence[nn.Module], split: Any, rank: int = 0, world: int = 1) -> list[Score]:
        """The same of several: on one stream of images where the task can and the method leaves it to that."""
        if type(self).score is not Method.score:
            return [self.score(model, split, rank, world) for model in models]
        return self.task.scores(models, split, rank, world)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def groups(self) -> Sequence[Group]:
        """Its modules whose parameters learn otherwise than the recipe says."""
        return ()

    def no_weight_decay(self) -> set[str]:
        """Parameters that the student wants free of weight decay (timm's convention)."""
        names: Callable[[], set[str]] = getattr(self.student, "no_weight_decay", set)
        return {f"student.{name}" for name in names()}


def _columns(values: tuple[tuple[float, ...], ...]) -> list[Tensor]:
    return [torch.tensor(value)[:, None, None] for value in values]


_methods: dict[str, type[Method]] = {}
M = TypeVar("M", bound=type[Method])


def register_method(cls: M) -> M:
    """Makes a method known by the name of its file; its options become part of every configuration."""
    name = cls.__module__.rsplit(".", 1)[-1]
    _methods[name] = cls
    joined = [option for base in cls.__mro__ for option in vars(base).get("later", ())]
    defaults, hints = signature_defaults(cls.__init__), signature_hints(cls.__init__)
    declare("method", name, defaults, cls.teacherless, cls.variants, joined, hints)
    return cls


def list_methods(task: str = "") -> list[str]:
    """Names of all methods, or of those that a task has."""
    own = bool(task) and task_class(task).own_methods
    return sorted(
        name for name, method in _methods.items() if task in method.tasks or (not method.tasks and not own) or not task
    )


def method_options(name: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All options of a method with `given` over the defaults. ConfigError for an unknown method or option."""
    return complete_options("method", name, given or {})


def method_class(name: str) -> type[Method]:
    """Raises ConfigError for a method that does not exist."""
    if name not in _methods:
        raise unknown("method", name, _methods)
    return _methods[name]


def check_task(method: str, task: str) -> None:
    """Raises ConfigError for a method that does not exist or cannot be used for a task."""
    own = method_class(method).tasks
    if method not in (serving := list_methods(task)):
        known = ", ".join(own) or "tasks that a model can learn by itself"
        raise ConfigError(f"method {method!r}: only for {known}; for {task} there are {', '.join(serving)}")


def create_method(
    name: str,
    student: nn.Module,
    teacher: nn.Module | None = None,
    task: Task | None = None,
    seed: int = 0,
    *,
    image_size: int | None = None,
    **options: Any,
) -> Method:
    """A method around `student` and `teacher`. Its own modules start from a generator of their own.

    Without a `task` it is the classification that the student was made for, on images of `image_size` pixels (by
    default those that timm made it for). Raises ConfigError for an unknown method or option, for a method that the task
    does not have, and for a teacher where it takes none or none where it takes one.
    """
    if task is not None and image_size is not None:
        raise ConfigError(f"image_size = {image_size!r}: the task says it already")
    task = task or task_for(student, image_size)
    check_task(name, task.name)
    if (teacher is None) != _methods[name].teacherless:
        raise ConfigError(f"teacher: method {name!r} takes {'none' if teacher is not None else 'one'}")
    complete = {key: value for key, value in method_options(name, options).items() if key != VARIANT}
    build: Callable[..., Method] = _methods[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hash_numbers(seed, _METHOD_STREAM))
        return build(student, teacher, task, **complete)


_METHOD_STREAM = 0x6D6574686F64

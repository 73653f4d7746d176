"""The contract of a distillation method, and the registry of methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn

from pat.config import complete_options, declare_method, unknown
from pat.counter import hash64
from pat.losses import cross_entropy
from pat.models import normalisation

Losses = dict[str, Tensor]
"""`loss` (total, scalar), `output` (student logits [B, C]) and named scalar parts."""


@dataclass(frozen=True)
class Task:
    """What is to be learnt: the size of the images in pixels and the classes (int64 [N]) of all training images.

    Only a method that remembers images (CRD) needs the labels.
    """

    image_size: int | tuple[int, int]
    labels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))


class Method(nn.Module):
    """A student, a frozen teacher and the loss between them, as one module.

    The keyword-only arguments of a method's `__init__` are its options. Images come normalised for the student; the
    teacher gets them renormalised for itself. A buffer named in `per_sample` has one row for each sample of the batch.
    Whatever couples samples is computed over the global batch (`pat.gather`); a method whose loss is a mean over
    images, each by itself, says `couples_samples = False`, so that a batch may be done in parts.
    """

    per_sample: tuple[str, ...] = ()
    couples_samples: bool = True
    teacher_scale: Tensor
    teacher_shift: Tensor

    def __init__(self, student: nn.Module, teacher: nn.Module | None, task: Task) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher
        if teacher is None:
            return
        teacher.requires_grad_(False).eval()
        (mean, std), (teacher_mean, teacher_std) = (_columns(normalisation(model)) for model in (student, teacher))
        self.register_buffer("teacher_scale", std / teacher_std, persistent=False)
        self.register_buffer("teacher_shift", (mean - teacher_mean) / teacher_std, persistent=False)

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        """Student-normalised images [B, 3, H, W] and target distributions [B, C] -> losses.

        `indices` int64 [B]: which training images they are, for a method that remembers them.
        """
        raise NotImplementedError

    def for_teacher(self, images: Tensor) -> Tensor:
        """The same images, normalised for the teacher."""
        return images * self.teacher_scale + self.teacher_shift

    def teach(self, images: Tensor) -> Tensor:
        """The teacher's logits [B, C] for images that are normalised for the student."""
        assert self.teacher is not None
        return self.teacher(self.for_teacher(images))

    def result(self, logits: Tensor, targets: Tensor, **weighted: tuple[float, Tensor]) -> Losses:
        """Cross entropy plus each part times its weight, and every part by its name."""
        ce = cross_entropy(logits, targets)
        loss = ce + sum(weight * part for weight, part in weighted.values())
        parts = {name: part.detach() for name, (_, part) in weighted.items()}
        return {"loss": loss, "output": logits, "ce": ce.detach(), **parts}

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

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
    declare_method(name, _signature_defaults(cls))
    return cls


def _signature_defaults(cls: type[Method]) -> dict[str, Any]:
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def list_methods() -> list[str]:
    """Names of all methods."""
    return sorted(_methods)


def method_options(name: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All options of a method with `given` over the defaults. ConfigError for an unknown method or option."""
    return complete_options(name, given or {})


def create_method(
    name: str, student: nn.Module, teacher: nn.Module | None, task: Task, seed: int = 0, **options: Any
) -> Method:
    """A method around `student` and `teacher`. Its own modules start from a generator of their own.

    Raises ConfigError for an unknown method or option.
    """
    if name not in _methods:
        raise unknown("method", name, _methods)
    complete = method_options(name, options)
    build: Callable[..., Method] = _methods[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(hash64(seed, _METHOD_STREAM)))
        return build(student, teacher, task, **complete)


_METHOD_STREAM = 0x6D6574686F64

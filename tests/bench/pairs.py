"""The three benchmark pairs at 224 px, and PAT taken apart into the pieces of its floors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pat.config import Data, Task
from pat.losses import cross_entropy
from pat.methods import Method, create_method
from pat.models import create_model
from pat.tasks import create_task

PAIRS = (
    ("swin_tiny_patch4_window7_224", "resnet18"),
    ("convnext_tiny", "deit_tiny_patch16_224"),
    ("mixer_b16_224", "mobilenetv2_100"),
)
CLASSES, SIZE = 100, 224


def short(teacher: str, student: str) -> str:
    """A pair as it stands in tables."""
    return f"{teacher.split('_')[0]} -> {student.split('_')[0]}"


@dataclass(frozen=True)
class Pieces:
    """A PAT step and, as separate calls on the same models and batch, what it cannot do without."""

    step: Callable[[], Any]
    student_step: Callable[[], Any]
    teacher_forward: Callable[[], Any]
    prompted_pass: Callable[[], Any]
    blocks: Callable[[], Any]

    def floor_a(self) -> tuple[Callable[[], Any], ...]:
        return self.student_step, self.teacher_forward, self.prompted_pass


def take_apart(
    teacher_name: str, student_name: str, batch: int, device: str = "cpu", **options: Any
) -> tuple[Method, Pieces]:
    """PAT for a pair with random weights, and its pieces for one fixed batch of `batch` images.

    On the device `meta` nothing is computed: enough to count what would be.
    """
    torch.manual_seed(0)
    student, teacher = (create_model(name, CLASSES, SIZE) for name in (student_name, teacher_name))
    method = (
        create_method("pat", student, teacher, create_task(Task(), Data("imagenet", SIZE), CLASSES), **options)
        .train()
        .to(device)
    )
    for block in method.prompts.values():
        nn.init.constant_(block.strength, 0.1)
    images = torch.randn(batch, 3, SIZE, SIZE, device=device)
    targets = torch.eye(CLASSES, device=device)[:batch]
    method(images, targets)
    return method, Pieces(
        step=lambda: _clear(method, method(images, targets)["loss"].backward()),
        student_step=lambda: _clear(method, cross_entropy(student(images), targets).backward()),
        teacher_forward=lambda: _forward(teacher, images),
        prompted_pass=_prompted_pass(method, images),
        blocks=_blocks(method, images),
    )


def _clear(method: nn.Module, _: None) -> None:
    method.zero_grad(set_to_none=True)


@torch.no_grad()
def _forward(teacher: nn.Module, images: Tensor) -> Tensor:
    return teacher(images)


def _prompted_pass(method: Method, images: Tensor) -> Callable[[], Any]:
    """The teacher's forward and the backward through its activations, from what enters the first prompted stage.

    A plain call of the model with one hook of torch's; none of the taps' own machinery.
    """
    start = dict(method.teacher.named_modules())[method.teacher_taps.stages[method.prompted_stages[0]].start]

    def cut(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0].detach().requires_grad_(), *inputs[1:])

    def run() -> None:
        handle = start.register_forward_pre_hook(cut)
        try:
            method.teacher(images).sum().backward()
        finally:
            handle.remove()

    return run


def _blocks(method: Method, images: Tensor) -> Callable[[], Any]:
    """Forward and backward of attention, aligners and prompt blocks alone, on inputs of the true shapes."""
    stages = method.teacher_taps.stages
    noise = partial(torch.randn, len(images), device=images.device)
    maps = [noise(s.channels, *s.size, requires_grad=True) for s in method.student_taps.stages]
    entering = {
        i: noise(stages[i].in_channels, *stages[i].in_size, requires_grad=i != method.prompted_stages[0])
        for i in method.prompted_stages
    }
    taught = [noise(stage.channels, *stage.size) for stage in stages]
    told = {i: taught[i] for i in method.prompted_stages}

    def run() -> None:
        aligned = method._aligned(maps, taught).values()
        prompted = [method.prompts[str(i)](entering[i], told[i]) for i in method.prompted_stages]
        torch.autograd.backward([x.sum() for x in (*aligned, *prompted)])
        _clear(method, None)

    return run

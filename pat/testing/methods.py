"""The contract of a method."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pat.clock import Clock
from pat.config import ConfigError, Data
from pat.methods import Method, create_method, method_options
from pat.models import create_model
from pat.options import teacherless
from pat.tasks.classification import Classification

CNN, BATCHNORM, VIT, MLP = "convnext_micro_32", "resnet_nano_32", "vit_nano_patch8_32", "mixer_nano_patch8_32"
PAIRS = ((BATCHNORM, VIT), (VIT, MLP), (MLP, CNN))
"""A student and a teacher of each family, always of two."""
IMAGES, CLASSES, SIZE = 8, 10, 32


@dataclass(frozen=True)
class Case:
    """A registered method between two timm models for images of 32 pixels."""

    name: str
    student: str = BATCHNORM
    teacher: str = VIT
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Method:
        """The method anew, around models of random weights."""
        teacher = None if teacherless(self.name) else create_model(self.teacher, CLASSES, SIZE)
        task = Classification(Data("own", SIZE), CLASSES, torch.arange(3 * IMAGES) % CLASSES)
        return create_method(self.name, create_model(self.student, CLASSES, SIZE), teacher, task, **self.options)


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Images [8, 3, 32, 32], targets [8, 10] that are one class each, and which training images they are."""
    images = torch.randn(IMAGES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    return images, torch.eye(CLASSES)[torch.arange(IMAGES)], torch.arange(IMAGES)


def learns(case: Case) -> None:
    """Finite, falls on a fixed batch, leaves the teacher alone, trains everything that it says it trains; its state
    round-trips; bfloat16 works."""
    torch.manual_seed(0)
    method = case.build()
    frozen = {key: value.clone() for key, value in method.teacher.state_dict().items()} if method.teacher else {}
    trainable = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=2e-3)
    images, targets, indices = batch()
    totals = []
    for _ in range(5):
        for clock in (module for module in method.modules() if isinstance(module, Clock)):
            clock.step.zero_()  # a later step is another one: of other draws, of another weight
        losses = method.train()(images, targets, indices)
        assert method.student.training, "train() must reach the student"
        taught = method.teacher.modules() if method.teacher else ()
        assert not any(module.training for module in taught), "the teacher is in eval mode, always"
        assert losses["output"].shape == (IMAGES, CLASSES), "'output' are the student's logits"
        assert losses["loss"].ndim == 0, "'loss' is a scalar"
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        totals.append(losses["loss"].item())
    assert torch.isfinite(torch.tensor(totals)).all() and totals[-1] < totals[0], f"the loss does not fall: {totals}"
    after = method.teacher.state_dict() if method.teacher else {}
    changed = [key for key, value in after.items() if not torch.equal(value, frozen[key])]
    assert not changed, f"weights of the teacher have changed: {changed[:3]}"
    idle = [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert method.unused_parameters or not idle, f"no gradient for {idle[:3]}: say unused_parameters, or train them"
    other = case.build()
    other.load_state_dict(method.state_dict())
    loaded = other.state_dict()
    lost = [key for key, value in method.state_dict().items() if not torch.equal(value, loaded[key])]
    assert not lost, f"what load_state_dict does not bring back: {lost[:3]}"
    with torch.autocast("cpu", torch.bfloat16):
        loss = method(images, targets, indices)["loss"]
    loss.backward()
    assert torch.isfinite(loss) and loss.dtype == torch.float32, "under autocast losses are of single precision"


def takes_classes(case: Case) -> None:
    """Integer labels are distributions of one class."""
    images, targets, indices = batch()
    method = case.build()
    other = copy.deepcopy(method)
    losses, others = method(images, targets, indices), other(images, targets.argmax(1), indices)
    assert losses.keys() == others.keys()
    for part, value in losses.items():
        torch.testing.assert_close(others[part], value)


def leaves_no_trace_in_eval(case: Case) -> None:
    """A loss on validation images changes nothing, before the first step and after one."""
    images, targets, indices = batch()
    method = case.build()
    for _ in range(2):
        before = {name: value.clone() for name, value in method.state_dict().items()}
        first = method.eval()(images, targets, indices)["loss"]
        assert torch.equal(method(images, targets, indices)["loss"], first), "the same batch gives another loss"
        after = method.state_dict()
        changed = [key for key, value in after.items() if key not in before or not torch.equal(value, before[key])]
        assert not changed and len(after) == len(before), f"a forward in eval mode changes {changed[:3]}"
        method.train()(images.flip(0), targets.flip(0), indices.flip(0))


def can_be_copied(case: Case) -> None:
    """Copies and pickles are methods of their own."""
    images, targets, indices = batch()
    method = case.build()
    for other in (copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        losses = [one.eval()(images, targets, indices)["loss"] for one in (method, other)]
        assert torch.equal(*losses), "a copy gives another loss"
        with torch.no_grad():
            for parameter in other.student.parameters():
                parameter.zero_()
        losses = [one(images, targets, indices)["loss"] for one in (method, other)]
        assert not torch.equal(*losses), "a copy shares the student's weights"


def couples_as_it_says(case: Case) -> None:
    """Where `couples_samples` is False the loss of a batch is the mean of its halves'."""
    method = case.build().eval()
    if method.couples_samples:
        return
    images, targets, indices = batch()
    whole = method(images, targets, indices)["loss"]
    halves = [method(*part)["loss"] for part in zip(images.chunk(2), targets.chunk(2), indices.chunk(2), strict=True)]
    torch.testing.assert_close(whole, (halves[0] + halves[1]) / 2, msg="it couples samples: say couples_samples = True")


def options_are_plain(case: Case) -> None:
    """Options survive JSON, an unknown one is refused by name."""
    options = method_options(case.name, case.options)
    assert method_options(case.name, json.loads(json.dumps(options))) == options, "options are plain JSON values"
    try:
        method_options(case.name, {"no_such_option": 1})
    except ConfigError as error:
        assert "no_such_option" in str(error)
    else:
        raise AssertionError("an unknown option is taken")


CHECKS: tuple[Callable[[Case], None], ...] = (
    learns,
    takes_classes,
    leaves_no_trace_in_eval,
    can_be_copied,
    couples_as_it_says,
    options_are_plain,
)

"""The contract of a task, on a data set that it learns from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pat import config
from pat.config import ConfigError, Data, Recipe
from pat.data import Dataset, load
from pat.tasks import NO_SCORE, Task, task_on
from pat.testing.methods import BATCHNORM, CNN
from pat.views import Views

SEED, EPOCH, BATCH = 3, 1, 4


@dataclass(frozen=True)
class TaskCase:
    """A registered task with its options, a data set in `root` with a dozen training images or more, and two timm
    models that the task can have. `recipe`: how its images are shown; batches are of four."""

    task: config.Task
    data: Data
    root: Path = Path("data")
    student: str = BATCHNORM
    teacher: str = CNN
    recipe: Recipe = Recipe(epochs=2, batch_size=BATCH, lr=1e-3)

    @cached_property
    def dataset(self) -> Dataset:
        return load(self.data, self.root)

    def build(self) -> Task:
        """The task on its data set."""
        return task_on(self.task, self.data, self.dataset)

    def views(self, task: Task, epoch: int = EPOCH, rank: int = 0, world: int = 1, first: int = 0) -> list[Views]:
        """An epoch as a worker is shown it."""
        batches = task.batches(self.dataset.train, BATCH, SEED, epoch)
        student = task.student(self.student, 0)
        return list(task.views(self.dataset.train, batches, self.recipe, student, SEED, epoch, rank, world, first))


def students_come_of_their_seed(case: TaskCase) -> None:
    """The same weights under a seed, others under another; torch's own generator stays as it was."""
    task, before = case.build(), torch.get_rng_state()
    one, same, other = (task.student(case.student, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before), "student() draws from torch's global generator"
    assert _same(one, same), "one seed gives two students"
    assert not _same(one, other), "two seeds give one student"


def views_come_of_their_place(case: TaskCase) -> None:
    """Batches and views are a function of seed, epoch and place: drawn again, from the middle, by several workers."""
    task, count = case.build(), len(case.dataset.train)
    batches = task.batches(case.dataset.train, BATCH, SEED, EPOCH)
    assert batches.shape == (count // BATCH, BATCH), "an epoch is all whole batches"
    flat = batches.flatten()
    assert len(flat.unique()) == len(flat) and 0 <= flat.min() and flat.max() < count, "an image comes twice, or none"
    whole = case.views(task)
    assert _same(whole, case.views(task)), "the same epoch is shown otherwise a second time"
    assert _same(whole[1:], case.views(task, first=1)), "from the second batch on an epoch is another one"
    assert not _same(whole, case.views(task, epoch=EPOCH + 1)), "two epochs are shown alike"
    parts = [case.views(task, rank=rank, world=2) for rank in (0, 1)]
    for batch, views, *shares in zip(batches, whole, *parts, strict=True):
        assert torch.equal(views.indices, batch), "a step shows other images than its batch names"
        assert views.images.ndim == 4 and views.images.shape[:2] == (BATCH, 3) and views.images.isfinite().all()
        assert torch.equal(torch.cat([share.indices for share in shares]), batch), "workers do not share a batch"
        assert _same(torch.cat([share.images for share in shares]), views.images), "workers see other views"


def a_batch_is_learnt_from(case: TaskCase) -> None:
    """Losses are finite scalars whose gradients reach the student; every sample has an answer, and a class."""
    task = case.build()
    if task.own_methods:
        return  # a model by itself has nothing to learn
    student = task.student(case.student, 0).train()
    views = case.views(task)[0]
    seen = task.see(student, views.images, views.targets)
    losses = task.losses(seen, views.targets)
    assert losses and all(loss.ndim == 0 and loss.isfinite() for loss in losses.values()), "losses are finite scalars"
    sum(losses.values(), torch.zeros(())).backward()
    grads = [p.grad for p in student.parameters() if p.grad is not None]
    assert grads and all(grad.isfinite().all() for grad in grads), (
        "no gradient reaches the student, or none that is one"
    )
    assert seen.logits.ndim == 2, "logits are [N, C]"
    classes = task.classes(seen, views.targets)
    assert classes.dtype == torch.int64 and classes.shape == seen.logits.shape[:1], "classes are int64 [N]"
    assert 0 <= classes.min() and classes.max() < seen.logits.shape[1], "a class without a logit"


def a_teacher_judges_the_same_samples(case: TaskCase) -> None:
    """Another model answers for those samples that the student has seen."""
    task = case.build()
    if task.own_methods:
        return
    student, teacher = task.student(case.student, 0).train(), task.student(case.teacher, 1).eval()
    task.check_model("student", student)
    task.check_model("teacher", teacher)
    views = case.views(task)[0]
    seen = task.see(student, views.images, views.targets)
    with torch.no_grad():
        told = task.see(teacher, views.images, like=seen)
    assert told.logits.shape == seen.logits.shape, "a teacher answers for other samples"
    assert not torch.equal(told.logits, seen.logits), "two models answer alike"


def shapes_are_known_before(case: TaskCase) -> None:
    """A batch without content has the canvas of the task, and maps of the shapes that are promised."""
    task = case.build()
    student, blank = task.student(case.student, 0), task.blank(2, torch.device("cpu"))
    assert blank.images.shape == (2, 3, *task.canvas), "blank images are of the canvas"
    task.check_batch(blank.images, blank.targets)
    taps = task.taps(student)
    seen = task.outline(student, blank.images, training=True, tapped=taps(blank.images))
    assert [tuple(found.shape[1:]) for found in seen.maps] == [*task.levels(taps)], "maps of other shapes than promised"


def scores_change_nothing(case: TaskCase) -> None:
    """A score is in percent, the same twice, and leaves the model as it was; no images have none."""
    task, split = case.build(), case.dataset.test
    student = task.student(case.student, 0).train()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    score, again = task.score(student, split), task.score(student, split)
    assert student.training, "a model comes back in another mode"
    assert _same(before, student.state_dict()), "scoring changes the model"
    assert _same(score, again), "a model has two scores"
    if not task.own_methods:
        assert score.score <= 100, "a score is in percent"
    if score.correct is not None:
        assert score.correct.dtype == torch.bool and score.correct.shape == (len(split),), "correct is bool [N]"
        assert abs(score.score - 100 * score.correct.double().mean()) < 1e-4, (
            "the score is not the share of what is right"
        )
    chance = task.chance(split)
    assert chance != chance or 0 <= chance <= 100, "chance is a score"
    assert _same(task.score(student, split.take(torch.arange(0))), NO_SCORE), "no images have a score"


def bad_input_is_refused(case: TaskCase) -> None:
    """In one line: an option that there is not, and a batch of other shapes."""
    task = case.build()
    blank = task.blank(2, torch.device("cpu"))
    for wrong in (
        lambda: config.Task(case.task.name, {"no_such_option": 1}),
        lambda: task.check_batch(blank.images[:, :1], blank.targets),
    ):
        try:
            wrong()
        except ConfigError as error:
            assert "\n" not in str(error), "a refusal is one line"
        else:
            raise AssertionError("a wrong option, or a grey batch, is taken")


TASK_CHECKS: tuple[Callable[[TaskCase], None], ...] = (
    students_come_of_their_seed,
    views_come_of_their_place,
    a_batch_is_learnt_from,
    a_teacher_judges_the_same_samples,
    shapes_are_known_before,
    scores_change_nothing,
    bad_input_is_refused,
)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal to the bit; tensors, and whatever holds some."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if dataclasses.is_dataclass(one):
        return type(one) is type(other) and _same(vars(one), vars(other))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other or (one != one and other != other))

"""The contract of a task - what is learnt, from what, and how well - and the registry of tasks."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from pat import config
from pat.data import Dataset, Source, truths_of
from pat.errors import ConfigError, unknown
from pat.models import create_model, load_teacher
from pat.options import declare, signature_defaults, signature_hints
from pat.recipes import check_recipe
from pat.taps import StageTaps, Tapped
from pat.views import Views, epoch_batches

Shape = tuple[int, int, int]
"""Channels, height and width of a map."""


@dataclass(frozen=True)
class Seen:
    """What a model makes of a batch.

    `logits` [N, C]: its answer for each of N samples - images, regions of interest, pixels. `maps` [B, C, H, W]: what
    may be compared with another model's. `samples`: which samples they are, and what the task's own loss needs of
    them; handed to another model, it answers for the same ones.

    `sizes` int64 [B, 2]: heights and widths of the images on a canvas that they do not fill; None where they do.
    `share`: a mean over this worker's samples times it, averaged over the workers, is the mean over all samples; None
    where all workers have equally many. `valid`: where each map shows the image, 0 or 1 [B, 1, H, W]; empty: anywhere.
    """

    logits: Tensor
    maps: tuple[Tensor, ...] = ()
    samples: Any = None
    sizes: Tensor | None = None
    share: Tensor | None = None
    valid: tuple[Tensor, ...] = ()

    def over_all(self, mean: Tensor) -> Tensor:
        """A mean over this worker's samples, so scaled that the workers' mean of it is the mean over all samples."""
        return mean if self.share is None else mean * self.share

    def shown(self, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        """Maps of the shapes of `self.maps`, 0 where the task says that they show nothing."""
        return [x * mask for x, mask in zip(maps, self.valid, strict=True)] if self.valid else maps


@dataclass(frozen=True)
class Score:
    """Loss (nan where the task has none in eval mode) and score in percent, more is better.

    `correct` bool [N], on the CPU: of each image, where the score is a mean over images. `details`: further scores in
    percent by name.
    """

    loss: float
    score: float
    correct: Tensor | None = None
    details: Mapping[str, float] = field(default_factory=dict)


NO_SCORE = Score(math.nan, math.nan)
"""That of no images."""


class Task(ABC):
    """What is learnt. The keyword-only arguments of a task's `__init__` are its options.

    `data` says what images it is learnt from, `num_classes` of how many classes; `labels` int64 [N] are the classes of
    the training images, for a method that remembers them: all 0 where images have none, empty where it is unknown.
    `canvas`: the nominal height and width of a batch in pixels, at which everything that depends on shapes is built.
    """

    name: ClassVar[str]
    """By which it is registered."""
    metric: ClassVar[str]
    """What `Score.score` is: its words are in `analysis.metrics`."""
    truths: ClassVar[str]
    """What must be known of its images: "labels", "boxes", "masks"; empty for nothing."""
    common_maps: ClassVar[bool] = False
    """Whether maps of any two models have one shape, so that they can be compared as they are."""
    own_methods: ClassVar[bool] = False
    """Whether only those methods serve it that name it, as a model by itself has nothing to learn."""
    couples_images: ClassVar[bool] = False
    """Whether an image's loss depends on the others of its batch, so that a batch cannot be done in parts."""
    of_teacher: Task | None = None
    """This task on images of the teacher's own size, where it has one (`create_task`)."""

    def __init__(self, data: config.Data, num_classes: int, labels: Tensor | None = None) -> None:
        self.data, self.num_classes = data, num_classes
        self.labels = torch.zeros(0, dtype=torch.int64) if labels is None else labels
        self.canvas = (data.image_size, data.image_size)

    @property
    def for_teacher(self) -> Task:
        """The task as a teacher has it: on images of its own size, or, where it has none, this one."""
        return self.of_teacher or self

    def check(self, name: str, recipe: config.Recipe, initial: str) -> None:
        """Raises ConfigError naming a setting that does not suit the training of timm's model `name` from `initial`.

        Called before any work, with the values of a `RunConfig`.
        """
        self.refuse(recipe, ("sizes", "scale"))

    def refuse(self, recipe: config.Recipe, unused: Iterable[str]) -> None:
        """Raises ConfigError where one of the fields `unused` says something, or any field what timm does not have."""
        check_recipe(recipe)
        defaults = {field.name: field.default for field in dataclasses.fields(config.Recipe)}
        for key in unused:
            if (value := getattr(recipe, key)) != defaults[key]:
                allowed = f"{self.name} has no use for it, leave it at {defaults[key]!r}"
                raise ConfigError(f"recipe.{key} = {value!r}: {allowed}")

    def build(self, name: str, num_classes: int, initial: str = "", initial_file: Path | None = None) -> nn.Module:
        """The model of the task with timm's model `name` in it (here: it alone); random weights from torch's generator.

        `initial` and `initial_file` are those of `models.create_model`.
        """
        return create_model(name, num_classes, self.canvas, initial, initial_file)

    def student(self, name: str, seed: int, initial: str = "", initial_file: Path | None = None) -> nn.Module:
        """A model whose initial weights are a function of the arguments and the task alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build(name, self.num_classes, initial, initial_file)

    def trained(self, name: str, file: Path, expected_sha256: str | None = None) -> tuple[nn.Module, str]:
        """A frozen model in eval mode from its file, and the SHA-256 of its bytes (`models.load_teacher`)."""
        return load_teacher(name, lambda classes: self.build(name, classes), self.num_classes, file, expected_sha256)

    def check_model(self, role: str, model: nn.Module) -> None:  # noqa: B027 - nothing to refuse unless a task says so
        """Raises ConfigError for a model, the "student" or the "teacher", that is not one of the task."""

    def check_batch(self, images: Tensor, targets: Any) -> None:
        """Raises ConfigError for a batch whose shapes are not those of the task."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ConfigError(f"images {list(images.shape)}: [B, 3, H, W] is needed")

    def taps(self, model: nn.Module) -> StageTaps:
        """Taps on the stages of the timm model in `model`."""
        return StageTaps(model, self.canvas)

    def own_taps(self, model: nn.Module) -> StageTaps | None:
        """Those that `see` runs where it is given none."""
        return None

    def levels(self, taps: StageTaps) -> list[Shape]:
        """Shapes of `Seen.maps` at the nominal canvas, of a model with these taps."""
        return [(stage.channels, *stage.size) for stage in taps.stages]

    def see(
        self,
        model: nn.Module,
        images: Tensor,
        targets: Any = None,
        like: Seen | None = None,
        tapped: Tapped | None = None,
    ) -> Seen:
        """What `model` makes of `images` [B, 3, H, W], which are normalised for it.

        `tapped`: what its taps gave for them; without it there may be no maps. `like`: what another model saw, whose
        samples are to be judged; without it they are chosen by `targets`. Here every image is a sample.
        """
        return Seen(model(images)) if tapped is None else Seen(tapped.logits, tapped.maps)

    @abstractmethod
    def losses(self, seen: Seen, targets: Any) -> dict[str, Tensor]:
        """The student's own losses: scalars by name, to be summed."""

    @abstractmethod
    def classes(self, seen: Seen, targets: Any) -> Tensor:
        """The true class of each sample: int64 [N]."""

    def batches(self, split: Source, batch_size: int, seed: int, epoch: int) -> Tensor:
        """Indices [steps, batch_size] of one epoch; steps = len(split) // batch_size."""
        return epoch_batches(len(split), batch_size, seed, epoch)

    @abstractmethod
    def views(
        self,
        split: Any,
        batches: Tensor,
        recipe: config.Recipe,
        student: nn.Module,
        seed: int,
        epoch: int,
        rank: int = 0,
        world: int = 1,
        first: int = 0,
    ) -> Iterator[Views]:
        """This worker's part of each of the global `batches` [steps, B] from the one of number `first` on, ready for
        `student`."""

    @abstractmethod
    def blank(self, images: int, device: torch.device) -> Views:
        """A batch without content: of shapes alone, for meta tensors and for trying whether it fits."""

    def outline(self, model: nn.Module, images: Tensor, training: bool, tapped: Tapped | None = None) -> Seen:
        """As `see`, in training or in scoring, of shapes alone; meta tensors will do.

        What is chosen by content is taken for as many as there may be.
        """
        return self.see(model, images, tapped=tapped)

    @abstractmethod
    def score(self, model: nn.Module, split: Any, rank: int = 0, world: int = 1) -> Score:
        """Scores `model` in eval mode, in the mode it was afterwards. Workers share the images, all get the result."""

    def chance(self, split: Any) -> float:
        """The score of the best constant answer on the images of a split, in percent; nan where there is none."""
        return math.nan

    def described(self, model: nn.Module, classes: Sequence[str] = ()) -> dict[str, Any]:
        """A trained model's configuration as timm's `config.json` holds it, `classes` being the names of its classes;
        empty for models that are not timm's own."""
        return {}

    def scores(self, models: Sequence[nn.Module], split: Any, rank: int = 0, world: int = 1) -> list[Score]:
        """The same of several models that are made for the same images, which may be made once for all."""
        return [self.score(model, split, rank, world) for model in models]

    def product(self, model: nn.Module) -> dict[str, Tensor]:
        """What a run exports of its student."""
        return model.state_dict()


_tasks: dict[str, type[Task]] = {}
T = TypeVar("T", bound=type[Task])


def register_task(cls: T) -> T:
    """Makes a task known by the name of its file; its options become part of every configuration."""
    name = cls.__module__.rsplit(".", 1)[-1]
    cls.name = name
    _tasks[name] = cls
    declare("task", name, signature_defaults(cls.__init__), hints=signature_hints(cls.__init__))
    return cls


def list_tasks() -> list[str]:
    """Names of all tasks."""
    return sorted(_tasks)


def task_class(name: str) -> type[Task]:
    """Raises ConfigError for a task that does not exist."""
    if name not in _tasks:
        raise unknown("task", name, _tasks)
    return _tasks[name]


def create_task(
    task: config.Task, data: config.Data, num_classes: int, labels: Tensor | None = None, teacher_size: int = 0
) -> Task:
    """The task that a configuration names, on data of so many classes. `teacher_size`: `config.Teacher.image_size`.

    Raises ConfigError for an unknown task or option, for images of which other things are known, and for a size of the
    teacher's own where maps of both are compared as they are.
    """
    check_data(task, data)
    build: Callable[..., Task] = task_class(task.name)
    made = build(data, num_classes, labels, **task.options)
    if teacher_size not in (0, data.image_size):
        if made.common_maps:
            one = f"{task.name} compares maps cell by cell, so both models see one size: leave it at 0"
            raise ConfigError(f"teacher.image_size = {teacher_size}: {one}")
        made.of_teacher = build(dataclasses.replace(data, image_size=teacher_size), num_classes, labels, **task.options)
    return made


def task_on(task: config.Task, data: config.Data, dataset: Dataset, teacher_size: int = 0) -> Task:
    """`create_task` for a data set that is here."""
    return create_task(task, data, dataset.num_classes, dataset.train.strata.cpu(), teacher_size)


def check_data(task: config.Task, data: config.Data) -> None:
    """Raises ConfigError where the data set does not say what the task has to know of its images."""
    needed, known = task_class(task.name).truths, truths_of(data)
    if needed not in ("", known):
        fitting = ", ".join(repr(name) for name, cls in _tasks.items() if cls.truths == known)
        raise ConfigError(
            f"task {task.name!r}: needs a data set with {needed}, {data.name!r} has {known} (for task {fitting})"
        )


def default_task(data: config.Data) -> config.Task:
    """The task that a data set is made for: the first one that learns what is known of its images."""
    known = truths_of(data)
    name = next((name for name, cls in _tasks.items() if cls.truths == known), None)
    if name is None:
        raise ConfigError(f"data set {data.name!r}: no task learns from {known}")
    return config.Task(name)

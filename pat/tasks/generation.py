"""Masked images: a model learns what is hidden from it. What it is to generate is its method's business.

No task of its own studies but what precedes one: the student is timm's model alone, and what a run exports is what any
other training starts from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pat.config import Data, Recipe
from pat.counter import hash64
from pat.data import Source
from pat.errors import ConfigError
from pat.layouts import Size
from pat.models import create_model, normalisation
from pat.starting import checked_sha256, start_from
from pat.taps import StageTaps
from pat.tasks.base import NO_SCORE, Score, Seen, Task, register_task
from pat.views import Views, middles, plain_views

EVAL_BATCH = 64
UNUSED = (
    "label_smoothing", "mixup", "cutmix", "mixup_mode", "auto_augment", "random_erasing", "views", "draft", "compiled",
)  # fmt: skip
_HIDE, _SCORED = 0x68696465, -1
Guess = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]
"""Images and the order of their cells -> what is generated, its target, which positions are hidden, and the loss."""


@register_task
class Generation(Task):
    """Targets are the cells of each image in a random order: int64 [B, cells], places in the `grid`. The first ones are
    visible; how many, in each image alike, its method says.

    `cell`: the side of a cell in pixels, a multiple of the student's total stride. The order is a function of (seed,
    epoch, index). `stride`: that of what is generated, in pixels. The score is the share of the target's variance that
    is explained where it is hidden; the order then is the same in every epoch and run.
    """

    metric = "explained"
    truths = ""
    own_methods = True

    def __init__(
        self,
        data: Data,
        num_classes: int,
        labels: Tensor | None = None,
        *,
        cell: int = 32,
        stride: int = 16,
    ) -> None:
        super().__init__(data, num_classes, labels)
        side = data.image_size // cell if cell > 0 else 0
        if side * cell != data.image_size:
            raise ConfigError(f"task.cell = {cell}: pixels that divide the image size, {data.image_size}")
        self.cell, self.stride, self.grid = cell, stride, (side, side)
        if stride < 1 or cell % stride:
            raise ConfigError(f"task.stride = {stride}: pixels that divide a cell of {cell}")

    def check(self, name: str, recipe: Recipe, initial: str) -> None:
        super().check(name, recipe, initial)
        self.refuse(recipe, UNUSED)
        strides = strides_of(name, self.canvas)
        if self.cell % strides[-1] or self.stride not in strides:
            of = ", ".join(map(str, strides))
            raise ConfigError(
                f"task.cell = {self.cell}, stride = {self.stride}: {name!r} has stages of stride {of}; the cell must "
                "be a multiple of the last one, the stride one of them"
            )

    def build(self, name: str, num_classes: int, initial: str = "", initial_file: Path | None = None) -> nn.Module:
        """timm's model without a classifier."""
        return create_model(name, 0, self.canvas, initial, initial_file)

    def trained(self, name: str, file: Path, expected_sha256: str | None = None) -> tuple[nn.Module, str]:
        """A teacher of any number of classes: its classifier is left out."""
        found = checked_sha256(file, expected_sha256)
        teacher = self.build(name, 0)
        start_from(teacher, file)
        return teacher.requires_grad_(False).eval(), found

    def losses(self, seen: Seen, targets: Any) -> dict[str, Tensor]:
        """None: what a model is to generate, its method says."""
        return {}

    def classes(self, seen: Seen, targets: Any) -> Tensor:
        raise ConfigError("task 'generation': its images have no classes")

    def visible(self, ratio: float) -> int:
        """How many cells of each image are visible where the share `ratio` is hidden. Raises ConfigError for all or
        none."""
        cells = self.grid[0] * self.grid[1]
        count = round((1 - ratio) * cells)
        if not 0 < count < cells:
            raise ConfigError(
                f"ratio = {ratio}: of {self.grid[0]} x {self.grid[1]} cells some must be hidden, and some visible"
            )
        return count

    def order(self, indices: Tensor, seed: int, epoch: int) -> Tensor:
        """The cells of images in the order of a batch's targets: int64 [B, cells]."""
        cells = torch.arange(self.grid[0] * self.grid[1], device=indices.device)
        return hash64(_HIDE, seed, epoch, indices[:, None], cells).argsort(dim=1, stable=True)

    def views(
        self,
        split: Source,
        batches: Tensor,
        recipe: Recipe,
        student: nn.Module,
        seed: int,
        epoch: int,
        rank: int = 0,
        world: int = 1,
        first: int = 0,
    ) -> Iterator[Views]:
        size, statistics = self.data.image_size, normalisation(student)
        for indices, images in plain_views(split, batches, recipe, size, statistics, seed, epoch, rank, world, first):
            yield Views(indices, images, self.order(indices, seed, epoch))

    def blank(self, images: int, device: torch.device) -> Views:
        indices = torch.arange(images, device=device)
        cells = torch.arange(self.grid[0] * self.grid[1], device=device).expand(images, -1)
        return Views(indices, torch.zeros(images, 3, *self.canvas, device=device), cells)

    def score(self, model: nn.Module, split: Source, rank: int = 0, world: int = 1) -> Score:
        """A model by itself generates nothing: its method scores it (`explained`)."""
        return NO_SCORE

    @torch.no_grad()
    def explained(self, guess: Guess, student: nn.Module, split: Source, rank: int = 0, world: int = 1) -> Score:
        """The mean loss, and 100 (1 - squares of what is missed / of the target about each channel's mean), both over
        all hidden positions of `split`. The middle of each image is shown, normalised for `student`."""
        if len(split) == 0:
            return NO_SCORE
        mean, std = (torch.tensor(values, device=split.device)[:, None, None] for values in normalisation(student))
        batches = torch.arange(len(split), device=split.device).split(EVAL_BATCH)[rank::world]
        sums: Tensor | None = None
        shown = middles(split, batches, self.data.image_size, self.data.crop_pct or 1.0, cubic=True)
        for indices, pixels in zip(batches, shown, strict=True):
            images = (pixels - mean) / std
            found, target, hidden, loss = guess(images, self.order(indices, 0, _SCORED))
            rows = [x.permute(0, 2, 3, 1)[hidden[:, 0]].double() for x in (found, target)]
            missed = (rows[0] - rows[1]).square().sum()
            part = torch.cat([
                torch.stack([missed, loss.double() * len(indices), loss.new_tensor(len(rows[1])).double()]),
                rows[1].sum(0), rows[1].square().sum(0),
            ])  # fmt: skip
            sums = part if sums is None else sums + part
        return _score(sums, len(split), world, split.device)


def _score(sums: Tensor | None, images: int, world: int, device: torch.device) -> Score:
    """Out of what each worker has summed: missed squares, losses, positions; of each channel the sum and squares."""
    if world > 1:
        width = torch.tensor(0 if sums is None else len(sums), device=device)
        dist.all_reduce(width, dist.ReduceOp.MAX)
        sums = torch.zeros(int(width), dtype=torch.float64, device=device) if sums is None else sums
        dist.all_reduce(sums)
    assert sums is not None
    missed, loss, positions = sums[:3]
    total, squares = sums[3:].chunk(2)
    spread = (squares - total.square() / positions).sum()
    return Score(float(loss) / images, float(100 * (1 - missed / spread)))


@lru_cache(maxsize=256)
def strides_of(name: str, canvas: Size) -> tuple[int, ...]:
    """The strides of the stages of timm's model `name`; computes nothing."""
    with torch.device("meta"):
        return tuple(stage.stride for stage in StageTaps(create_model(name, 0, canvas), canvas).stages)

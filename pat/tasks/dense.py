"""What detection and segmentation share: whole images on a canvas, and a pyramid on any strided backbone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pat.config import Data, Recipe
from pat.dense.fpn import TRACED, check_backbone, create_backbone
from pat.dense.valid import valid_area
from pat.errors import ConfigError
from pat.models import normalisation
from pat.taps import StageTaps
from pat.tasks.base import Shape, Task
from pat.views import Views, aspect_batches, dense_views

EVAL_BATCH = 4
MULTIPLE = 32
UNUSED = (
    "label_smoothing",
    "draft",
    "compiled",
    "crop_scale",
    "crop_ratio",
    "mixup",
    "cutmix",
    "mixup_mode",
    "auto_augment",
    "random_erasing",
    "views",
)
"""Fields of a recipe that make views of squares with one class."""


class DenseTask(Task):
    """The shorter side of an image is `data.image_size` pixels (in training one of `recipe.sizes`), the longer at most
    `longest` (0: any). Maps are the levels of a pyramid of `width` channels.

    `crop`: the side of the square that training cuts out of each view, in pixels; 0: none.

    `freeze_norm`: BatchNorm of the backbone stays as it starts, which suits pretrained weights and small batches.
    `valid_maps`: maps are compared where they show the image; else, as published, also on the padding beside it.
    """

    common_maps = True
    couples_images = True

    def __init__(
        self,
        data: Data,
        num_classes: int,
        labels: Tensor | None,
        *,
        width: int,
        longest: int,
        freeze_norm: bool,
        valid_maps: bool,
    ) -> None:
        super().__init__(data, num_classes, labels)
        if width < 1 or longest < 0:
            raise ConfigError(f"task.width = {width}, longest = {longest}: a number of channels, and pixels or 0")
        self.width, self.longest, self.freeze_norm, self.valid_maps = width, longest, freeze_norm, valid_maps
        side, other = data.image_size, longest or round(data.image_size * 4 / 3)
        self.canvas = (_padded(side), _padded(max(side, other)))
        self.crop = 0

    def check(self, name: str, recipe: Recipe, initial: str) -> None:
        self.refuse(recipe, UNUSED)
        if self.data.crop_pct != 1:
            raise ConfigError(f"data.crop_pct = {self.data.crop_pct}: {self.name} scores whole images, leave it at 1.0")
        if check_backbone(name) and self.freeze_norm and not initial:
            raise ConfigError(
                f"task.freeze_norm = True: BatchNorm of {name!r} would stay untrained; "
                f"start it from pretrained weights (initial), or train its statistics (freeze_norm=False)"
            )

    def backbone(self, name: str, initial: str, initial_file: Path | None) -> nn.Module:
        return create_backbone(name, TRACED, initial, initial_file, self.freeze_norm)

    def taps(self, model: Any) -> StageTaps:
        taps: StageTaps = model.taps
        return taps

    def own_taps(self, model: Any) -> StageTaps:
        return self.taps(model)

    def levels(self, taps: StageTaps) -> list[Shape]:
        height, width = self.canvas
        strides = [stage.stride for stage in taps.stages]
        return [(self.width, math.ceil(height / stride), math.ceil(width / stride)) for stride in strides]

    def batches(self, split: Any, batch_size: int, seed: int, epoch: int) -> Tensor:
        """Images of one kind of shape in a batch, so that little of a canvas is padding."""
        return aspect_batches(split.sizes, batch_size, seed, epoch)

    def views(
        self,
        split: Any,
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
        own = seed, epoch, rank, world
        return dense_views(split, batches[first:], recipe, size, self.longest, self.crop, statistics, *own)

    def valid(self, sizes: Tensor, images: Tensor, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Where each map shows an image, if that is asked for."""
        canvas = (images.shape[2], images.shape[3])
        return tuple(valid_area(sizes, canvas, (x.shape[2], x.shape[3])) for x in maps) if self.valid_maps else ()

    def whole(self, images: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Indices, pixels and sizes of a batch without content that fills its canvas."""
        sizes = torch.tensor([self.canvas], device=device).expand(images, 2)
        return torch.arange(images, device=device), torch.zeros(images, 3, *self.canvas, device=device), sizes


def _padded(pixels: int) -> int:
    return math.ceil(pixels / MULTIPLE) * MULTIPLE

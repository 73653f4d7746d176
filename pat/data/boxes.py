"""Boxes around objects: of a whole data set, of one batch, and the images they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from pat.config import DataError
from pat.data.files import Files, read_part
from pat.data.part import FilePart


@dataclass(frozen=True)
class Boxes:
    """The M boxes of N images, image after image, on the CPU; `counts` int64 [N] says how many each image has.

    `boxes` float32 [M, 4]: left, top, right, bottom in pixels of the image as it lies in its file. `labels` int64
    [M]: 1 … C. `crowd` bool [M]: many objects in one box, which is no target and no mistake either. `area` float64
    [M]: of the object itself, in pixels, as its annotation says.
    """

    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    area: Tensor
    counts: Tensor

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, indices: Tensor) -> Boxes:
        """The boxes of the images that `indices` (or a mask) choose, in their order."""
        indices = indices.cpu()
        counts = self.counts[indices]
        starts = (self.counts.cumsum(0) - self.counts)[indices]
        first = starts - (counts.cumsum(0) - counts)
        return self._rows(first.repeat_interleave(counts) + torch.arange(int(counts.sum())), counts)

    def only(self, kept: Tensor) -> Boxes:
        """The boxes that `kept` bool [M] chooses; every image stays."""
        counts = torch.zeros_like(self.counts).index_add_(0, self.images[kept], torch.ones_like(self.images[kept]))
        return self._rows(torch.nonzero(kept).flatten(), counts)

    @property
    def images(self) -> Tensor:
        """Which image each box belongs to: int64 [M]."""
        return torch.arange(len(self)).repeat_interleave(self.counts)

    def _rows(self, rows: Tensor, counts: Tensor) -> Boxes:
        return Boxes(self.boxes[rows], self.labels[rows], self.crowd[rows], self.area[rows], counts)


@dataclass(frozen=True)
class BoxTargets:
    """What a training step on B images is told, on the device: their M boxes, image after image.

    `boxes` float32 [M, 4]: left, top, right, bottom in pixels of the canvas. `labels` int64 [M]: 1 … C. `counts`: how
    many boxes each image has. `sizes` int64 [B, 2]: height and width of each image at the top left of the canvas; the
    rest is padding. `keys` int64 [B]: random bits of each view, a pure function of (seed, epoch, index), for whatever
    is sampled from it.
    """

    boxes: Tensor
    labels: Tensor
    counts: tuple[int, ...]
    sizes: Tensor
    keys: Tensor

    def __len__(self) -> int:
        return len(self.counts)

    def chunk(self, parts: int) -> tuple[BoxTargets, ...]:
        """In `parts`, cut as `Tensor.chunk` cuts the images."""
        return tuple(self._images(int(part[0]), int(part[-1]) + 1) for part in torch.arange(len(self)).chunk(parts))

    def image(self, index: int) -> tuple[Tensor, Tensor]:
        """Boxes [m, 4] and labels [m] of one image."""
        one = self._images(index, index + 1)
        return one.boxes, one.labels

    def _images(self, start: int, stop: int) -> BoxTargets:
        rows = slice(sum(self.counts[:start]), sum(self.counts[:stop]))
        images = slice(start, stop)
        return BoxTargets(
            self.boxes[rows], self.labels[rows], self.counts[images], self.sizes[images], self.keys[images]
        )


@dataclass(frozen=True, kw_only=True)
class BoxSplit(FilePart):
    """Images in files with the boxes of their objects; `sizes` int64 [N, 2]: height and width, `ids` int64 [N].

    Crowd boxes are among them: scoring needs them, training is not told of them.
    """

    boxes: Boxes
    sizes: Tensor
    ids: Tensor

    def take(self, indices: Tensor) -> Self:
        indices = indices.cpu()
        chosen = self.boxes.take(indices)
        return replace(super().take(indices), boxes=chosen, sizes=self.sizes[indices], ids=self.ids[indices])


@dataclass(frozen=True)
class Measured:
    """Files whose images must have the `sizes` [N, 2] that their annotation says: boxes are in its pixels."""

    files: Files
    sizes: Tensor
    annotation: str

    def __len__(self) -> int:
        return len(self.files)

    def paths(self, index: int) -> tuple[Path, ...]:
        return self.files.paths(index)

    def __getitem__(self, index: int) -> Tensor:
        picture = self.files[index]
        found, (height, width) = tuple(picture.shape[:2]), self.sizes[index].tolist()
        if found != (height, width):
            raise DataError(
                f"image {str(self.files.path(index))!r} is {found[1]} x {found[0]} pixels, "
                f"{self.annotation!r} says {width} x {height}"
            )
        return picture


def read_boxes(
    root: Path, names: Sequence[str], boxes: Boxes, sizes: Tensor, ids: Tensor, annotation: Path, unreadable: str
) -> BoxSplit:
    """The images `names` below `root` with what the file `annotation` says of them; see `files.read_part`."""
    pictures = Measured(Files.of(root, names), sizes, str(annotation))
    part, kept = read_part(root, names, pictures, int(sizes.prod(1).sum()) * 3, unreadable)
    return BoxSplit(**vars(part), boxes=boxes.take(kept), sizes=sizes[kept], ids=ids[kept])

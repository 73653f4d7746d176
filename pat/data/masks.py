"""Masks, which give every pixel a class: of a data set's files, and of one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from pat.config import DataError
from pat.data.files import Files, UnreadableImage, read_image, read_part
from pat.data.part import FilePart

T = TypeVar("T")

VOID = 255
"""The class of pixels that count for nothing, in training and scoring."""
_READERS = 16
"""Files whose headers are read at a time: mostly it is the disk that is waited for."""


@dataclass(frozen=True)
class MaskTargets:
    """What a training step on B images is told, on the device.

    `masks` int64 [B, H, W] on the canvas: 0 … C - 1, and VOID where nothing counts, padding included. `sizes` int64
    [B, 2]: height and width of each image at the top left of the canvas.
    """

    masks: Tensor
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.masks)

    def chunk(self, parts: int) -> tuple[MaskTargets, ...]:
        """In `parts`, cut as `Tensor.chunk` cuts the images."""
        return tuple(map(MaskTargets, self.masks.chunk(parts), self.sizes.chunk(parts)))


@dataclass(frozen=True, kw_only=True)
class MaskSplit(FilePart):
    """Images in files with their masks, as pictures of four channels: uint8 [h, w, 4], the mask is the last.

    `sizes` int64 [N, 2]: height and width.
    """

    sizes: Tensor

    def take(self, indices: Tensor) -> Self:
        indices = indices.cpu()
        return replace(super().take(indices), sizes=self.sizes[indices])


@dataclass(frozen=True)
class Values:
    """What the values in a mask's file mean: uint8 [256] of classes and VOID, and which values there may be."""

    meaning: Tensor
    allowed: Tensor

    @classmethod
    def of(cls, num_classes: int, void: Iterable[int] = (VOID,), first: int = 0) -> Values:
        """Classes 0 … C - 1 are written as `first`, first + 1, …, and `void` values are no class."""
        meaning, allowed = torch.full((256,), VOID, dtype=torch.uint8), torch.zeros(256, dtype=torch.bool)
        meaning[first : first + num_classes] = torch.arange(num_classes, dtype=torch.uint8)
        allowed[first : first + num_classes] = True
        allowed[list(void)] = True
        return cls(meaning, allowed)

    def classes(self, mask: np.ndarray, path: Path) -> np.ndarray:
        """A mask as read to classes; DataError names a value that is neither a class nor void."""
        allowed = self.allowed.numpy()
        if not allowed[mask].all():
            wrong = int(mask[~allowed[mask]][0])
            numbers = ", ".join(_spans(np.flatnonzero(allowed).tolist()))
            raise DataError(f"mask {str(path)!r} holds the value {wrong}: a class or void is one of {numbers}")
        classes: np.ndarray = self.meaning.numpy()[mask]
        return classes


@dataclass(frozen=True)
class Pairs:
    """Images and their masks, number by number."""

    images: Files
    masks: Files
    values: Values

    def __len__(self) -> int:
        return len(self.images)

    def paths(self, index: int) -> tuple[Path, ...]:
        return self.images.path(index), self.masks.path(index)

    def __getitem__(self, index: int) -> Tensor:
        path = self.masks.path(index)
        mask = torch.from_numpy(self.values.classes(read_mask(path), path))
        return torch.cat([self.images[index], mask[..., None]], 2)


def read_mask(path: Path) -> np.ndarray:
    """The values of a mask, uint8 [h, w]: grey levels, or the indices of a palette.

    Raises UnreadableImage for what is no whole image, DataError for one of several channels or of more than 8 bits.
    """
    mode, mask = read_image(path, lambda image: (image.mode, np.array(image)))
    if mode not in ("L", "P"):
        raise DataError(f"mask {str(path)!r} is of Pillow's mode {mode}: 8-bit class numbers (L or P) needed")
    return mask


def read_masks(root: Path, images: Sequence[str], masks: Sequence[str], values: Values, unreadable: str) -> MaskSplit:
    """The `images` below `root` and their `masks`; see `files.read_part`. All headers are read.

    Raises DataError for an image and a mask that differ in size.
    """
    pairs = Pairs(Files.of(root, images), Files.of(root, masks), values)
    sizes = torch.tensor(_in_threads(lambda number: _size(pairs, number, unreadable), len(pairs)))
    part, kept = read_part(root, images, pairs, int(sizes.prod(1).sum()) * 4, unreadable)
    return MaskSplit(**vars(part), sizes=sizes[kept])


def largest_value(root: Path, masks: Sequence[str]) -> int:
    """The largest value in all `masks` below `root` that is not VOID, -1 where there is none. All are decoded."""
    return max(_in_threads(lambda number: _largest(root / masks[number]), len(masks)))


def _size(pairs: Pairs, number: int, unreadable: str) -> tuple[int, int]:
    """Height and width of an image and its mask, (0, 0) for what will be found unreadable and skipped."""
    paths = pairs.paths(number)
    try:
        image, mask = (read_image(path, lambda found: (found.height, found.width), whole=False) for path in paths)
    except UnreadableImage:
        if unreadable == "stop":
            raise
        return 0, 0
    if image != mask:
        raise DataError(
            f"mask {str(paths[1])!r} is {mask[1]} x {mask[0]} pixels, "
            f"its image {str(paths[0])!r} {image[1]} x {image[0]}"
        )
    return image


def _largest(path: Path) -> int:
    try:
        mask = read_mask(path)
    except UnreadableImage:  # reported, or skipped, when the split is read
        return -1
    return int(mask[mask != VOID].max()) if (mask != VOID).any() else -1


def _in_threads(work: Callable[[int], T], count: int) -> list[T]:
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(work, range(count)))


def _spans(numbers: Sequence[int]) -> list[str]:
    """Ascending numbers as text: 0-10, 255."""
    starts = [number for number in numbers if number - 1 not in numbers]
    stops = [number for number in numbers if number + 1 not in numbers]
    return [str(start) if start == stop else f"{start}-{stop}" for start, stop in zip(starts, stops, strict=True)]

"""What a data set is, the registry of data sets, and the rule that cuts validation from train."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from pat.config import ConfigError, Data, unknown
from pat.counter import hash64
from pat.data.pixels import Pixels


class Source(Protocol):
    """A part of a data set: N images. What is true of them - labels, boxes, masks - is its own kind's business.

    `device` is the one that the images are wanted on. `strata` int64 [N]: what validation is cut evenly from; all 0
    where it is one heap. `skipped`: how many files of the source are left out because they could not be read.
    """

    @property
    def device(self) -> torch.device: ...

    @property
    def strata(self) -> Tensor: ...

    @property
    def skipped(self) -> int: ...

    def __len__(self) -> int: ...

    def take(self, indices: Tensor) -> Self:
        """The samples that `indices` (or a mask) choose, in their order."""

    def to(self, device: torch.device) -> Self:
        """The same samples, images wanted on `device`."""

    def picture(self, index: int) -> Tensor:
        """One image as decoded, uint8 [h, w, C]."""

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Pixels]:
        """The images of each batch of indices, on the device. Raises ConfigError for one that cannot be read."""


class Labelled(Source, Protocol):
    """A part whose images have one class each: `labels` int64 [N], on `device`. They are its strata."""

    @property
    def labels(self) -> Tensor: ...


@dataclass(frozen=True)
class Split:
    """A part in memory: `images` uint8 [N, 3, H, W] and `labels` int64 [N], in the order of the source."""

    images: Tensor
    labels: Tensor

    skipped = 0

    @property
    def device(self) -> torch.device:
        return self.labels.device

    @property
    def strata(self) -> Tensor:
        return self.labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Split:
        return Split(self.images[indices], self.labels[indices])

    def to(self, device: torch.device) -> Split:
        return Split(self.images.to(device), self.labels.to(device))

    def picture(self, index: int) -> Tensor:
        return self.images[index].permute(1, 2, 0)

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Pixels]:
        for batch in batches:
            yield Pixels.of(self.images[batch])


@dataclass(frozen=True)
class Dataset:
    """Train, validation (empty where the share is 0) and test images of one data set.

    `skipped` counts the files of train and test that could not be read (only where `Data.unreadable` is "skip").
    `classes`: their names, where they have some. `passed`: what of the files beside them is no data, in one line.
    """

    train: Source
    val: Source
    test: Source
    num_classes: int
    skipped: int = 0
    classes: tuple[str, ...] = ()
    passed: str = ""

    @property
    def account(self) -> str:
        """What became of everything that was found, in one line."""
        counts = f"{len(self.train)} train, {len(self.val)} validation and {len(self.test)} test images"
        unreadable = f"; {self.skipped} unreadable ones are left out" if self.skipped else ""
        return f"{counts} of {self.num_classes} classes{unreadable}{self.passed and '; '}{self.passed}"

    def to(self, device: torch.device) -> Dataset:
        """The same data set, images wanted on `device`."""
        train, val, test = (part.to(device) for part in (self.train, self.val, self.test))
        return replace(self, train=train, val=val, test=test)


class Parts(NamedTuple):
    """What a loader gives: the whole train split, the test split and the number of classes.

    `val`: a validation split of its own, where the set has one; else it is cut off train. The rest as in `Dataset`.
    """

    train: Source
    test: Source
    num_classes: int
    val: Source | None = None
    classes: tuple[str, ...] = ()
    passed: str = ""


Loader = Callable[[Path, Data], Parts | tuple[Source, Source, int]]
"""(root, data) -> `Parts`, of which the first three will do."""

_loaders: dict[str, Loader] = {}
_folders: dict[str, str] = {}
_truths: dict[str, str] = {}


def register_dataset(name: str, folder: str = "", truths: str = "labels") -> Callable[[Loader], Loader]:
    """Makes a loader known by name; a name ending in ':' serves every name with that prefix, in folders so called.

    `folder`: where below the root its files lie; empty for a set that needs none. `truths`: what is known of each
    image, which says what can be learnt from it: "labels" (`Labelled`), "boxes" (`BoxSplit`), "masks" (`MaskSplit`).
    """

    def register(loader: Loader) -> Loader:
        _loaders[name], _folders[name], _truths[name] = loader, folder, truths
        return loader

    return register


def list_datasets() -> list[str]:
    return sorted(_loaders)


def check_data(data: Data) -> None:
    """Raises ConfigError with the nearest names unless the data set exists."""
    if _key(data.name) not in _loaders:
        raise unknown("data set", data.name, _loaders)


def loader_of(data: Data) -> Loader:
    """What reads a data set. Raises ConfigError as `check_data`."""
    check_data(data)
    return _loaders[_key(data.name)]


def data_folder(data: Data) -> str:
    """The folder below the root that holds all files of a data set; empty for one that needs none."""
    check_data(data)
    prefix, colon, rest = data.name.partition(":")
    return rest if colon else _folders[prefix]


def truths_of(data: Data) -> str:
    """What is known of each image of a data set: "labels", "boxes" or "masks"."""
    check_data(data)
    return _truths[_key(data.name)]


def _key(name: str) -> str:
    prefix, colon, _ = name.partition(":")
    return prefix + colon


def load(data: Data, root: Path) -> Dataset:
    """The data set `data`, from files below `root`. Raises ConfigError if it is missing or corrupt."""
    check_data(data)
    return _load(data, Path(root).absolute())


def load_on(data: Data, root: Path, device: torch.device) -> Dataset:
    """The same, images wanted on `device`; the same object each time, as long as no other one is asked for."""
    check_data(data)
    return _load_on(data, Path(root).absolute(), device)


@lru_cache(maxsize=1)
def _load_on(data: Data, root: Path, device: torch.device) -> Dataset:
    return _load(data, root).to(device)


@lru_cache(maxsize=1)
def _load(data: Data, root: Path) -> Dataset:
    """The last set stays in memory: segments in a reused process read the same one again and again."""
    parts = Parts(*loader_of(data)(root, data))
    share = data.validation if len(parts.train) and parts.val is None else 0.0
    held_out = validation_mask(parts.train.strata, share)
    train = parts.train.take(~held_out)
    val = parts.train.take(held_out) if parts.val is None else parts.val
    skipped = sum(part.skipped for part in (parts.train, parts.test, parts.val) if part is not None)
    return Dataset(train, val, parts.test, parts.num_classes, skipped, parts.classes, parts.passed)


def validation_mask(labels: Tensor, share: float, salt: int = 0) -> Tensor:
    """Which images of train are held out: bool [N].

    The rule (fixed; changing it raises NUMERICS): of each class with n images, the round(n * share) whose index has
    the smallest SplitMix64 hash. It reads nothing but the labels' order.
    """
    rank = hash64(salt, torch.arange(len(labels)))
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        members = torch.nonzero(labels == label).flatten()
        order = torch.argsort(rank[members], stable=True)
        held_out[members[order[: round(len(members) * share)]]] = True
    if share > 0 and not held_out.any():
        raise ConfigError(f"data.validation = {share!r}: no class has enough images for a validation split")
    return held_out

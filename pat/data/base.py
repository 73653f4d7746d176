"""What a data set is, the registry of data sets, and the rule that cuts validation from train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from pat.config import ConfigError, Data, unknown
from pat.counter import hash64


@dataclass(frozen=True)
class Split:
    """`images` uint8 [N, 3, H, W] and `labels` int64 [N], in the order of the source."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Split:
        return Split(self.images[indices], self.labels[indices])

    def to(self, device: torch.device) -> Split:
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """Train, validation (empty where the share is 0) and test images of one data set."""

    train: Split
    val: Split
    test: Split
    num_classes: int


Loader = Callable[[Path, Data], tuple[Split, Split, int]]
"""(root, data) -> whole train split, test split, number of classes."""

_loaders: dict[str, Loader] = {}


def register_dataset(name: str) -> Callable[[Loader], Loader]:
    """Makes a loader known by name; a name ending in ':' serves every name with that prefix."""

    def register(loader: Loader) -> Loader:
        _loaders[name] = loader
        return loader

    return register


def list_datasets() -> list[str]:
    return sorted(_loaders)


def check_data(data: Data) -> None:
    """Raises ConfigError with the nearest names unless the data set exists."""
    if _key(data.name) not in _loaders:
        raise unknown("data set", data.name, _loaders)


def _key(name: str) -> str:
    prefix, colon, _ = name.partition(":")
    return prefix + colon


def load(data: Data, root: Path) -> Dataset:
    """The data set `data`, from files below `root`. Raises ConfigError if it is missing or corrupt."""
    check_data(data)
    return _load(data, Path(root).absolute())


@lru_cache(maxsize=1)
def _load(data: Data, root: Path) -> Dataset:
    """The last set stays in memory: segments in a reused process read the same one again and again."""
    train, test, num_classes = _loaders[_key(data.name)](root, data)
    held_out = validation_mask(train.labels, data.validation)
    return Dataset(train.take(~held_out), train.take(held_out), test, num_classes)


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

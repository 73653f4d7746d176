"""CIFAR-10 and CIFAR-100, read and MD5-checked by torchvision from `root`; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import torch
from torchvision.datasets import CIFAR10, CIFAR100

from pat.config import Data, DataError
from pat.data.base import Parts, Split, register_dataset


@register_dataset("cifar10", CIFAR10.base_folder)
def load_cifar10(root: Path, data: Data) -> Parts:
    """50,000 train and 10,000 test images of 10 classes, 32x32."""
    return _load(CIFAR10, root)


@register_dataset("cifar100", CIFAR100.base_folder)
def load_cifar100(root: Path, data: Data) -> Parts:
    """50,000 train and 10,000 test images of 100 (fine) classes, 32x32."""
    return _load(CIFAR100, root)


def _load(reader: type[CIFAR10], root: Path) -> Parts:
    try:
        train, test = (reader(str(root), train=part, download=False) for part in (True, False))
    except (RuntimeError, OSError, EOFError) as error:
        folder = root / reader.base_folder
        raise DataError(
            f"data set {reader.__name__} not found or corrupt in {str(folder)!r}: "
            f"the official python files with their MD5 sums are needed ({reader.url})"
        ) from error
    return Parts(_split(train), _split(test), len(train.classes), classes=tuple(train.classes))


def _split(source: CIFAR10) -> Split:
    images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()  # [N, 3, 32, 32]
    return Split(images, torch.tensor(source.targets))

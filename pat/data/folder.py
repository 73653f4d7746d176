"""Image folders PART/<class>/<image>, and own data in them: PATH/{train,test}/… or PATH/{train,val}/…"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS

from pat.config import Data, DataError
from pat.data.base import Source, Split, register_dataset
from pat.data.files import read_files
from pat.data.fingerprints import check_fingerprint, digest
from pat.data.part import FileSplit

PREFIX = "folder:"


def folder_data(path: Path, image_size: int, validation: float = 0.1) -> Data:
    """The `Data` that stands for the image folder at `path`. Raises DataError if it is none."""
    return Data(PREFIX + path.absolute().name, image_size, validation, fingerprint(path))


def fingerprint(path: Path) -> str:
    """SHA-256 over the sorted relative names and sizes of all images: cheap, and another set has another one."""
    parts = [(part, label) for part in _parts(path) for label in class_names(part)]
    return digest(path, (f"{part.name}/{name}" for part, label in parts for name in _images(part, label)))


@register_dataset(PREFIX)
def load_folder(root: Path, data: Data) -> tuple[Source, Source, int]:
    """Train and test images; classes are the sorted folder names of train."""
    path = root / data.name.removeprefix(PREFIX)
    check_fingerprint("image folder", path, fingerprint(path), data)
    train, test = _parts(path)
    return read_parts(train, test, data.unreadable)


def read_parts(train: Path | None, test: Path, unreadable: str) -> tuple[Source, Source, int]:
    """Train split, test split and the number of classes, which are the folders of train in sorted order.

    Without `train` its split is empty and the classes are those of test. Raises DataError for a class of test that
    train lacks, and for a part without images.
    """
    classes = class_names(train or test)
    foreign = sorted(set(class_names(test)) - set(classes))
    if foreign:
        others = f" (and {len(foreign) - 1} others)" if len(foreign) > 1 else ""
        raise DataError(f"class {foreign[0]!r} of {str(test)!r} does not occur in train/{others}")
    if train is None:
        nothing = Split(torch.zeros(0, 3, 1, 1, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
        return nothing, _read(test, classes, unreadable), len(classes)
    return _read(train, classes, unreadable), _read(test, classes, unreadable), len(classes)


def class_names(part: Path) -> list[str]:
    """The sorted folder names of `part`; those that begin with a dot are no classes."""
    with os.scandir(part) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _parts(path: Path) -> tuple[Path, Path]:
    train = path / "train"
    test = next((path / name for name in ("test", "val") if (path / name).is_dir()), None)
    if not train.is_dir() or test is None:
        raise DataError(f"data set {str(path)!r}: neither a known name nor a folder with train/ and test/ (or val/)")
    return train, test


def image_names(folder: Path) -> list[str]:
    """The sorted names, relative to `folder`, of the images in it and in the folders below."""
    names = []
    for path, _, found in os.walk(folder):
        within = "" if path == str(folder) else f"{os.path.relpath(path, folder)}/"
        names += [f"{within}{name}" for name in found if name.lower().endswith(IMG_EXTENSIONS) and name[0] != "."]
    return sorted(names)


def _images(part: Path, label: str) -> list[str]:
    """The names, relative to `part`, of a class' images."""
    return [f"{label}/{name}" for name in image_names(part / label)]


def _read(part: Path, classes: list[str], unreadable: str) -> FileSplit:
    names, labels = [], []
    for label, name in enumerate(classes):
        found = _images(part, name)
        names += found
        labels += [label] * len(found)
    return read_files(part, names, labels, unreadable)

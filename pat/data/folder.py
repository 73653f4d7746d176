"""Image folders PART/<class>/<image>, and own data in them: PATH/{train,test}/… or PATH/{train,val}/…, or all three."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch

from pat.config import Data, DataError
from pat.data.base import Parts, Split, register_dataset
from pat.data.files import read_files
from pat.data.fingerprints import check_fingerprint, digest
from pat.data.part import FileSplit
from pat.data.scan import SUFFIXES, Classes, beside, is_service, scan_classes, told

PREFIX = "folder:"
_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
"""What the folders of the parts may be called, in capitals or not."""


class Layout(NamedTuple):
    """The folders of the parts, whatever they are called; `unused`: the names of other folders beside them."""

    parts: dict[str, Path]
    unused: list[str]


def folder_data(path: Path, image_size: int, validation: float = 0.1) -> Data:
    """The `Data` that stands for the image folder at `path`. Raises DataError if it is none."""
    return Data(PREFIX + path.absolute().name, image_size, validation, fingerprint(path))


def fingerprint(path: Path) -> str:
    """SHA-256 over the sorted relative names and sizes of all images: cheap, and another set has another one.

    Every class has images in train, so that these names hold those of the classes.
    """
    return _digest(path, [scan_classes(part) for part in _parts(path).values()])


@register_dataset(PREFIX)
def load_folder(root: Path, data: Data) -> Parts:
    """Train and test images; classes are the sorted folder names of train.

    val/ beside test/ is the validation split, whatever share of train would be cut off; alone it is the test split.
    """
    path = root / data.name.removeprefix(PREFIX)
    parts = {name: scan_classes(part) for name, part in _parts(path).items()}
    check_fingerprint("image folder", path, _digest(path, parts.values()), data)
    passed = beside(path, {part.part.name for part in parts.values()})
    return read_parts(parts["train"], parts["test"], data.unreadable, parts.get("val"), passed)


def read_parts(
    train: Classes | None,
    test: Classes,
    unreadable: str,
    val: Classes | None = None,
    passed: Counter[str] | None = None,
) -> Parts:
    """The parts, whose classes are the folders of train in sorted order.

    Without `train` its split is empty and the classes are those of test. Raises DataError for fewer than two classes,
    for one without images in train or that only another part has, and for a part without images.
    """
    first = train or test
    _check_classes(first)
    classes, others = list(first.images), [part for part in (test, val) if part]
    for part in others:
        foreign = sorted(part.images.keys() - first.images.keys())
        if foreign:
            more = f" (and {len(foreign) - 1} others)" if len(foreign) > 1 else ""
            raise DataError(f"class {foreign[0]!r} of {str(part.part)!r} does not occur in {first.part.name}/{more}")
    counted = sum((part.passed for part in (train, *others) if part), passed or Counter())
    learnt: Split | FileSplit = Split(torch.zeros(0, 3, 1, 1, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
    if train:
        learnt = _read(train, classes, unreadable)
        if lost := _lost(learnt, classes):
            raise DataError(f"class {lost!r} of {str(train.part)!r}: none of its images can be decoded")
    tested, validated = _read(test, classes, unreadable), _read(val, classes, unreadable) if val else None
    return Parts(learnt, tested, len(classes), validated, tuple(classes), told(counted))


def layout(path: Path) -> Layout:
    """Which folders of a data set are which parts. Raises DataError where two are the same one."""
    parts: dict[str, Path] = {}
    unused = []
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []
    for folder in (folder for folder in folders if not is_service(folder.name)):
        part = next((part for part, names in _NAMES.items() if folder.name.lower() in names), None)
        if part is None:
            unused.append(folder.name)
        elif part in parts:
            raise DataError(f"data set {str(path)!r}: {parts[part].name}/ and {folder.name}/ are the same part, {part}")
        else:
            parts[part] = folder
    return Layout(parts, unused)


def _parts(path: Path) -> dict[str, Path]:
    """Train, test and, where it is not the test part, validation."""
    found = layout(path)
    train, val, test = (found.parts.get(name) for name in ("train", "val", "test"))
    if train is None or (test or val) is None:
        held = ", ".join(f"{name}/" for name in (*(part.name for part in found.parts.values()), *found.unused)[:6])
        raise DataError(
            f"data set {str(path)!r}: neither a known name nor a folder with train/ and test/ (or val/); "
            f"it holds {held or 'no folders'}"
        )
    if test is None:
        assert val is not None
        return {"train": train, "test": val}
    return {"train": train, "test": test} | ({"val": val} if val else {})


def _digest(path: Path, parts: Iterable[Classes]) -> str:
    return digest(path, (f"{part.part.name}/{name}" for part in parts for name in part.names()))


def _check_classes(part: Classes) -> None:
    """Raises DataError unless there are two classes or more, each with images."""
    if not part.names():
        passed = f"; {told(part.passed)}" if part.passed else ""
        raise DataError(f"data set folder {str(part.part)!r} holds no images: {SUFFIXES}, in a folder a class{passed}")
    empty = [label for label, names in part.images.items() if not names]
    if empty:
        more = f" (and {len(empty) - 1} others)" if len(empty) > 1 else ""
        raise DataError(f"class {empty[0]!r} of {str(part.part)!r} has no images{more}: {SUFFIXES} count")
    if len(part.images) < 2:
        only = ", ".join(part.images)
        raise DataError(f"data set folder {str(part.part)!r} has only the class {only!r}: two are needed at least")


def _lost(read: FileSplit, classes: list[str]) -> str:
    """The first class of which nothing was read; empty where there is none."""
    counts = torch.bincount(read.labels, minlength=len(classes))
    return next((label for label, count in zip(classes, counts.tolist(), strict=True) if not count), "")


def _read(part: Classes, classes: list[str], unreadable: str) -> FileSplit:
    names, labels = [], []
    for label, name in enumerate(classes):
        found = part.images.get(name, [])
        names += found
        labels += [label] * len(found)
    return read_files(part.part, names, labels, unreadable)

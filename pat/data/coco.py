"""Detection sets of the COCO layout: DATA/{train2017,val2017}/ or {train,val}/, and annotations/instances_<part>.json.

A box of no extent once it is clipped to its image is no object. COCO itself has a few: there training goes on without
them and says how many, and scoring keeps them, as its official evaluation does. In own data it is a mistake that
someone can mend, and one line names it.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pat.config import Data, DataError
from pat.data.annotations import Annotated, read_annotations
from pat.data.base import Parts, register_dataset
from pat.data.boxes import Boxes, BoxSplit, read_boxes
from pat.data.fingerprints import check_fingerprint, digest
from pat.data.scan import beside, scan, told

NAME, TINY, PREFIX = "coco", "coco-tiny", "boxes:"
ANNOTATIONS = "annotations"
_LAYOUTS = (("train2017", "val2017"), ("train", "val"))


class Part(NamedTuple):
    """Where the images of a part lie, and the file that says what is on them."""

    images: Path
    annotation: Path


def box_data(path: Path, image_size: int, validation: float = 0.1) -> Data:
    """The `Data` that stands for the folder of COCO's layout at `path`. Raises DataError if it is none."""
    return Data(PREFIX + path.absolute().name, image_size, validation, box_fingerprint(path))


def box_fingerprint(path: Path) -> str:
    """SHA-256 over the names and sizes of all images, and over the annotation files' bytes."""
    parts = _parts(path)
    names = (f"{part.images.name}/{name}" for part in parts for name in scan(part.images).names)
    return digest(path, names, [f"{ANNOTATIONS}/{part.annotation.name}" for part in parts])


@register_dataset(NAME, NAME, truths="boxes")
@register_dataset(TINY, TINY, truths="boxes")
def load_coco(root: Path, data: Data) -> Parts:
    """COCO 2017 as its archives unpack in ROOT/coco: train2017, and val2017 as the test split; 80 classes. Or a few of
    its images, in ROOT/coco-tiny."""
    path = root / data.name
    train, test = (Part(path / name, path / ANNOTATIONS / f"instances_{name}.json") for name in _LAYOUTS[0])
    if not (train.images.is_dir() and test.images.is_dir()):
        raise DataError(
            f"data set {data.name} not found in {str(path)!r}: train2017/, val2017/ and "
            "annotations/instances_{train2017,val2017}.json needed"
        )
    return _read(train, test, data.unreadable, own=False)


@register_dataset(PREFIX, truths="boxes")
def load_own(root: Path, data: Data) -> Parts:
    """Own data of COCO's layout; val is the test split, classes are the categories of train in the order of their
    ids."""
    path = root / data.name.removeprefix(PREFIX)
    check_fingerprint("data set", path, box_fingerprint(path), data)
    return _read(*_parts(path), data.unreadable, own=True)


def _parts(path: Path) -> tuple[Part, Part]:
    for names in _LAYOUTS:
        if all((path / name).is_dir() for name in names):
            train, val = (Part(path / name, path / ANNOTATIONS / f"instances_{name}.json") for name in names)
            return train, val
    raise DataError(
        f"data set {str(path)!r}: boxes need train2017/ and val2017/, or train/ and val/, each with its "
        f"{ANNOTATIONS}/instances_<part>.json"
    )


def _read(train: Part, test: Part, unreadable: str, own: bool) -> Parts:
    """The two parts and the classes.

    Train keeps the images on which there is an object that is no crowd, test all of them. A box of train is clipped
    to its image; those of test are as written, since they are what detections are measured with.
    """
    found = _annotated(train)
    classes = found.categories
    seen = _clipped(train, found.numbered(classes), own, training=True)
    some = torch.bincount(seen.boxes.images[~seen.boxes.crowd], minlength=len(seen.names)) > 0
    if not some.any():
        raise DataError(f"annotation file {str(train.annotation)!r}: no image has a box")
    found = _annotated(test)
    for number, name in found.categories.items():
        if classes.get(number) != name:
            raise DataError(
                f"annotation file {str(test.annotation)!r}: category {number} ({name!r}) is not one of "
                f"{train.annotation.name}"
            )
    shown = _clipped(test, found.numbered(classes), own, training=False)
    read, tested = _split(train, seen, some, unreadable), _split(test, shown, None, unreadable)
    passed: Counter[str] = Counter()
    if own:
        known = (train.images.name, test.images.name, ANNOTATIONS)
        passed = _passed(train, seen.names) + _passed(test, shown.names) + beside(train.images.parent, known)
    return Parts(read, tested, len(classes), classes=tuple(classes.values()), passed=told(passed))


def _passed(part: Part, annotated: Sequence[str]) -> Counter[str]:
    """What lies beside the images that the annotations name."""
    found = scan(part.images)
    return found.passed + Counter({"image without annotation": len(set(found.names).difference(annotated))})


def _split(part: Part, found: Annotated, kept: Tensor | None, unreadable: str) -> BoxSplit:
    chosen = torch.arange(len(found.names)) if kept is None else torch.nonzero(kept).flatten()
    names = [found.names[number] for number in chosen.tolist()]
    boxes, sizes, ids = found.boxes.take(chosen), found.sizes[chosen], found.ids[chosen]
    return read_boxes(part.images, names, boxes, sizes, ids, part.annotation, unreadable)


def _clipped(part: Part, found: Annotated, own: bool, training: bool) -> Annotated:
    """Boxes of no extent are refused (own data) or, in training, left out; for training the others are clipped."""
    boxes = found.boxes
    height, width = found.sizes[boxes.images].float().unbind(1)
    ends = torch.stack([width, height, width, height], 1)
    clipped = boxes.boxes.clamp(min=0).minimum(ends)
    real = (clipped[:, 2:] > clipped[:, :2]).all(1)  # not so for NaN, too
    if own and not real.all():
        row = int(real.int().argmin())
        name = found.names[int(boxes.images[row])]
        left, top, right, bottom = (round(edge, 2) for edge in boxes.boxes[row].tolist())
        raise DataError(
            f"annotation file {str(part.annotation)!r}: the box of annotation {int(found.numbers[row])}, x {left} to "
            f"{right} and y {top} to {bottom}, has no extent in its image {name!r} of {int(width[row])} x "
            f"{int(height[row])} pixels"
        )
    if not training:
        return found
    if not real.all():
        print(f"{int((~real).sum())} boxes of no extent in {str(part.annotation)!r} are left out", file=sys.stderr)
    inside = Boxes(clipped, boxes.labels, boxes.crowd, boxes.area, boxes.counts).only(real)
    return found._replace(boxes=inside, numbers=found.numbers[real])


def _annotated(part: Part) -> Annotated:
    """What is known of a part, whose images are all there."""
    found = read_annotations(part.annotation)
    _check_files(part, found.names)
    return found


def _check_files(part: Part, names: Sequence[str]) -> None:
    """Raises DataError for an image that is not there. Folders are listed: to ask for each file would be slow."""
    listed: dict[str, frozenset[str]] = {}
    for name in names:
        folder, last = os.path.split(name)
        if folder not in listed:
            path = part.images / folder
            listed[folder] = frozenset(os.listdir(path)) if path.is_dir() else frozenset()
        if last not in listed[folder]:
            raise DataError(f"image {str(part.images / name)!r} is missing; {str(part.annotation)!r} names it")

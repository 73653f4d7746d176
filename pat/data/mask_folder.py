"""Segmentation sets: own folders and CamVid (DATA/{images,masks}/{train,val}/), Pascal VOC 2012, ADE20K."""

from __future__ import annotations

import os
from pathlib import Path

from pat.config import Data, DataError
from pat.data.base import Parts, Source, register_dataset
from pat.data.fingerprints import check_fingerprint, digest
from pat.data.masks import VOID, Values, largest_value, read_masks
from pat.data.scan import beside, scan, told

PREFIX = "masks:"
CLASSES = "classes.txt"
_VOC, _ADE20K = "VOCdevkit", "ADEChallengeData2016"
_MOST = 255
"""Classes that 8-bit masks can hold beside VOID."""


def mask_data(path: Path, image_size: int, validation: float = 0.1) -> Data:
    """The `Data` that stands for the folder of images and masks at `path`. Raises DataError if it is none."""
    return Data(PREFIX + path.absolute().name, image_size, validation, mask_fingerprint(path))


def mask_fingerprint(path: Path) -> str:
    """SHA-256 over the names and sizes of all images and masks, and over classes.txt where there is one."""
    _check(path)
    folders = [f"{kind}/{part}" for kind in ("images", "masks") for part in ("train", "val")]
    names = (f"{folder}/{name}" for folder in folders for name in scan(path / folder).names)
    return digest(path, names, [CLASSES] if (path / CLASSES).exists() else [])


@register_dataset(PREFIX, truths="masks")
def load_own(root: Path, data: Data) -> Parts:
    """Own images and masks; val is the test split.

    classes.txt has the name of one class a line, in the order of the masks' values from 0; a line `void = 11` says
    that pixels of this value, too, count for nothing, as those of 255 always do. Without that file there are as many
    classes as the largest value of train's masks says, all of which are read for it.
    """
    path = root / data.name.removeprefix(PREFIX)
    check_fingerprint("data set", path, mask_fingerprint(path), data)
    masks = [f"masks/train/{name}" for name in scan(path / "masks" / "train").names]
    names: list[str] = []
    void: list[int] = []
    if (path / CLASSES).exists():
        names, void = _read_classes(path / CLASSES)
        classes = len(names)
    else:
        classes = largest_value(path, masks) + 1 if masks else 0
    if not classes:
        raise DataError(f"data set {str(path)!r} has no class in {CLASSES} or masks/train/")
    train, test = _own(path, Values.of(classes, [*void, VOID]), data.unreadable)
    folders = (path / kind / part for kind in ("images", "masks") for part in ("train", "val"))
    passed = sum((scan(folder).passed for folder in folders), beside(path, ("images", "masks", CLASSES)))
    return Parts(train, test, classes, classes=tuple(names), passed=told(passed))


@register_dataset("camvid", "camvid", truths="masks")
def load_camvid(root: Path, data: Data) -> tuple[Source, Source, int]:
    """CamVid's 11 classes in ROOT/camvid/{images,masks}/{train,val}; the mask's value 11 is void."""
    _check(root / "camvid")
    train, test = _own(root / "camvid", Values.of(11, [11, VOID]), data.unreadable)
    return train, test, 11


@register_dataset("voc", _VOC, truths="masks")
def load_voc(root: Path, data: Data) -> tuple[Source, Source, int]:
    """Pascal VOC 2012 as its archive unpacks: ROOT/VOCdevkit/VOC2012. 1,464 train images, 1,449 of val as the test
    split, 21 classes with the background, 255 is void."""
    path = root / _VOC / "VOC2012"
    found: list[Source] = []
    for part in ("train", "val"):
        file = path / "ImageSets" / "Segmentation" / f"{part}.txt"
        try:
            names = file.read_text().split()
        except OSError as error:
            raise DataError(
                f"data set voc not found in {str(path)!r}: JPEGImages/, SegmentationClass/ and "
                "ImageSets/Segmentation/{train,val}.txt needed"
            ) from error
        images, masks = (
            [f"JPEGImages/{name}.jpg" for name in names],
            [f"SegmentationClass/{name}.png" for name in names],
        )
        for name in (*images, *masks):
            if not (path / name).exists():
                raise DataError(f"file {str(path / name)!r} is missing; {str(file)!r} names it")
        found.append(read_masks(path, images, masks, Values.of(21), data.unreadable))
    return found[0], found[1], 21


@register_dataset("ade20k", _ADE20K, truths="masks")
def load_ade20k(root: Path, data: Data) -> tuple[Source, Source, int]:
    """ADE20K's scene parsing set as its archive unpacks: ROOT/ADEChallengeData2016/{images,annotations}/…

    20,210 train images, 2,000 of validation as the test split, 150 classes; the mask's value 0 is void.
    """
    path, values = root / _ADE20K, Values.of(150, [0], first=1)
    if not all(
        (path / kind / part).is_dir() for kind in ("images", "annotations") for part in ("training", "validation")
    ):
        raise DataError(
            f"data set ade20k not found in {str(path)!r}: images/{{training,validation}}/ and "
            "annotations/{training,validation}/ needed"
        )
    train, test = (
        read_masks(path, *_matched(path, f"images/{part}", f"annotations/{part}"), values, data.unreadable)
        for part in ("training", "validation")
    )
    return train, test, 150


def _check(path: Path) -> None:
    for folder in ("images/train", "images/val", "masks/train", "masks/val"):
        if not (path / folder).is_dir():
            raise DataError(
                f"data set {str(path)!r} lacks {folder}/: images/ and masks/ are needed, each with train/ and val/"
            )


def _own(path: Path, values: Values, unreadable: str) -> tuple[Source, Source]:
    train, test = (
        read_masks(path, *_matched(path, f"images/{part}", f"masks/{part}"), values, unreadable)
        for part in ("train", "val")
    )
    return train, test


def _matched(path: Path, images: str, masks: str) -> tuple[list[str], list[str]]:
    """The images of one folder and the masks of another, both relative to `path`, matched by name without ending."""
    ours, theirs = _by_stem(path / images), _by_stem(path / masks)
    for stem, name in ours.items():
        if stem not in theirs:
            raise DataError(f"image {str(path / images / name)!r} has no mask in {str(path / masks)!r}")
    if alone := sorted(theirs.keys() - ours.keys()):
        raise DataError(f"mask {str(path / masks / theirs[alone[0]])!r} has no image in {str(path / images)!r}")
    return [f"{images}/{name}" for name in ours.values()], [f"{masks}/{theirs[stem]}" for stem in ours]


def _by_stem(folder: Path) -> dict[str, str]:
    """The images of a folder by their names without the ending. Raises DataError where two have the same."""
    found: dict[str, str] = {}
    for name in scan(folder).names:
        stem = os.path.splitext(name)[0]
        if stem in found:
            raise DataError(f"folder {str(folder)!r} holds both {found[stem]!r} and {name!r}: which one is meant?")
        found[stem] = name
    return found


def _read_classes(file: Path) -> tuple[list[str], list[int]]:
    """The names of the classes, and the values that are void."""
    try:
        lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"file {str(file)!r} cannot be read: {error}") from error
    names: list[str] = []
    void: list[int] = []
    for line in lines:
        key, equals, value = (part.strip() for part in line.partition("="))
        if not (equals and key == "void"):
            names.append(line)
        elif value.isdecimal() and int(value) <= VOID:
            void.append(int(value))
        else:
            raise DataError(f"file {str(file)!r}: line {line!r}: void = a value from 0 to 255")
    if any(value < len(names) for value in void):
        raise DataError(f"file {str(file)!r}: void = {min(void)} is the value of a class; {len(names)} are named")
    if len(names) > _MOST:
        raise DataError(f"file {str(file)!r} names {len(names)} classes; masks of 8 bits hold {_MOST} at most")
    return names, void

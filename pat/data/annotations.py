"""The annotation files of detection sets, as COCO writes them: parsed and checked, the large ones once.

COCO's own takes 15 s and 3 GB to parse. What was found in such a file is kept in the user's cache folder under the
SHA-256 of its bytes, and read from there as long as these are the same.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pat.config import DataError
from pat.data.boxes import Boxes
from pat.data.cache import cache_file, keep

LARGE = 1 << 24
"""Files of at least so many bytes are parsed once; smaller ones take no second."""
_KINDS = {int: "a whole number", str: "a text", list: "a list"}
_FORM = 1
"""Of what is kept; another form has another number."""


class Annotated(NamedTuple):
    """What an annotation file says: categories, names, sizes int64 [N, 2] (height, width) and ids of images, and their
    boxes.

    `categories`: id -> name, sorted by id. `labels` of the boxes are ids of categories until they are numbered.
    `numbers` int64 [M] are the ids of the annotations; boxes are as written, not clipped.
    """

    categories: dict[int, str]
    names: list[str]
    sizes: Tensor
    ids: Tensor
    boxes: Boxes
    numbers: Tensor

    def numbered(self, classes: Mapping[int, str]) -> Annotated:
        """With the places among `classes`, from 1, as labels; these have all categories, in the order of their ids."""
        places = torch.searchsorted(torch.tensor(list(classes), dtype=torch.int64), self.boxes.labels) + 1
        return self._replace(boxes=replace(self.boxes, labels=places))


def read_annotations(file: Path) -> Annotated:
    """What the file says. Raises DataError naming the entry that is wrong."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"annotation file {str(file)!r} cannot be read: {error.strerror}") from error
    if len(content) < LARGE:
        return _parsed(file, content)
    kept = cache_file(f"annotations-{_FORM}-{hashlib.sha256(content).hexdigest()}.npz")
    found = _kept(kept)
    if found is None:
        found = _parsed(file, content)
        keep(kept, _bytes(found))
    return found


def _bytes(found: Annotated) -> bytes:
    """The content of an .npz file; texts are JSON in it."""
    arrays = {name: getattr(found, name).numpy() for name in ("sizes", "ids", "numbers")}
    arrays |= {name: tensor.numpy() for name, tensor in vars(found.boxes).items()}
    texts = json.dumps([list(found.categories.items()), found.names]).encode()
    stream = io.BytesIO()
    np.savez(stream, texts=np.frombuffer(texts, np.uint8), **arrays)
    return stream.getvalue()


def _kept(file: Path) -> Annotated | None:
    """What was kept, or None where there is nothing, or nothing whole."""
    try:
        with np.load(file) as arrays:
            categories, names = json.loads(arrays["texts"].tobytes())
            own = {name: torch.from_numpy(arrays[name]) for name in ("sizes", "ids", "numbers")}
            boxes = Boxes(**{field.name: torch.from_numpy(arrays[field.name]) for field in fields(Boxes)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return Annotated(dict(categories), names, boxes=boxes, **own)


def _parsed(file: Path, read: bytes) -> Annotated:
    try:
        content = json.loads(read)
    except ValueError as error:
        raise DataError(f"annotation file {str(file)!r} is not JSON: {error}") from error
    for key in ("images", "annotations", "categories"):
        if not (isinstance(content, dict) and isinstance(content.get(key), list)):
            raise DataError(f"annotation file {str(file)!r} has no list {key!r}")
    categories = {}
    for entry in content["categories"]:
        _check(file, "category", entry, id=int, name=str)
        categories[entry["id"]] = entry["name"]
    names: list[str] = []
    sizes: list[tuple[int, int]] = []
    places: dict[int, int] = {}
    for entry in content["images"]:
        _check(file, "image", entry, id=int, file_name=str, height=int, width=int)
        if entry["id"] in places or min(entry["height"], entry["width"]) < 1:
            wrong = "is there twice" if entry["id"] in places else "has no pixels"
            raise DataError(f"annotation file {str(file)!r}: image {entry['id']} {wrong}")
        places[entry["id"]] = len(names)
        names.append(entry["file_name"])
        sizes.append((entry["height"], entry["width"]))
    rows = []
    for entry in content["annotations"]:
        _check(file, "annotation", entry, id=int, image_id=int, category_id=int, bbox=list)
        for key, known, many in (("image_id", places, "images"), ("category_id", categories, "categories")):
            if entry[key] not in known:
                raise _wrong(file, "annotation", entry, key, f"is not one of the {many}")
        box = entry["bbox"]
        if len(box) != 4 or not all(isinstance(value, int | float) for value in box):
            raise _wrong(file, "annotation", entry, "bbox", "is not four numbers")
        left, top, width, height = box
        area = entry.get("area")
        area = area if isinstance(area, int | float) else width * height
        place, label = places[entry["image_id"]], entry["category_id"]
        crowd = bool(entry.get("iscrowd"))
        rows.append((place, label, crowd, area, left, top, left + width, top + height, entry["id"]))
    return _ordered(dict(sorted(categories.items())), names, sizes, list(places), rows)


def _ordered(
    categories: dict[int, str],
    names: list[str],
    sizes: list[tuple[int, int]],
    ids: list[int],
    rows: list[tuple[Any, ...]],
) -> Annotated:
    """The boxes image after image; within an image in the order of the file."""
    rows.sort(key=lambda row: row[0])
    place, label, crowd, area, *edges, number = zip(*rows, strict=True) if rows else [()] * 9
    boxes = Boxes(
        torch.tensor(edges, dtype=torch.float64).view(4, -1).t().float().contiguous(),
        torch.tensor(label, dtype=torch.int64),
        torch.tensor(crowd, dtype=torch.bool),
        torch.tensor(area, dtype=torch.float64),
        torch.bincount(torch.tensor(place, dtype=torch.int64), minlength=len(names)),
    )
    shape = torch.tensor(sizes, dtype=torch.int64).view(-1, 2)
    return Annotated(categories, names, shape, torch.tensor(ids), boxes, torch.tensor(number, dtype=torch.int64))


def _check(file: Path, what: str, entry: Any, **kinds: type) -> None:
    """Raises DataError unless `entry` has these fields, of these kinds."""
    if not isinstance(entry, dict):
        raise DataError(f"annotation file {str(file)!r}: {what} {entry!r} is no object of fields")
    for key, kind in kinds.items():
        if not isinstance(entry.get(key), kind):
            raise _wrong(file, what, entry, key, f"is not {_KINDS[kind]}" if key in entry else "is missing")


def _wrong(file: Path, what: str, entry: Mapping[str, Any], key: str, reason: str) -> DataError:
    said = f" = {entry[key]!r}" if key in entry else ""
    return DataError(f"annotation file {str(file)!r}: {what} {entry.get('id')!r}: {key}{said} {reason}")

"""What a folder of images holds, entry by entry: an image, or something that is passed over for a reason."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from torchvision.datasets.folder import IMG_EXTENSIONS

from pat.config import DataError

SUFFIXES = ", ".join(IMG_EXTENSIONS)
_SERVICE = {"__macosx", "__pycache__", "lost+found", "$recycle.bin", "system volume information"}
"""Folders of programs and file systems, in small letters, beside those whose names begin with a dot or an @."""

_SHOWN = 12
"""Kinds of what is passed over that one line names."""


class Scan(NamedTuple):
    """The images found, by their sorted names relative to the folder; and of all other entries how many there are of
    each kind."""

    names: list[str]
    passed: Counter[str]


class Classes(NamedTuple):
    """The images of a part's classes, which are its folders in sorted order, by names relative to the part."""

    part: Path
    images: dict[str, list[str]]
    passed: Counter[str]

    def names(self) -> list[str]:
        """All images, class after class."""
        return [name for found in self.images.values() for name in found]


def scan(folder: Path) -> Scan:
    """All images in `folder` and below. Links are followed, each folder is entered once; service folders are no data.

    Raises DataError for a folder that cannot be listed.
    """
    found = Scan([], Counter())
    _walk(folder, "", _above(folder), found)
    return Scan(sorted(found.names), found.passed)


def scan_classes(part: Path) -> Classes:
    """The same class by class. Images beside the class folders are none of a class."""
    images: dict[str, list[str]] = {}
    passed: Counter[str] = Counter()
    above = {*_above(part), _identity(part)}
    for entry in _entries(part):
        kind = _kind(entry, above)
        if kind == "folder":
            found = scan(Path(entry.path))
            images[entry.name] = [f"{entry.name}/{name}" for name in found.names]
            passed += found.passed
        else:
            passed["image outside of the class folders" if kind == "image" else kind] += 1
    return Classes(part, images, passed)


def beside(folder: Path, known: Collection[str]) -> Counter[str]:
    """What lies in the folder of a data set beside the entries that are `known`: none of it is read."""
    found: Counter[str] = Counter()
    for entry in _entries(folder):
        if entry.name not in known:
            kind = _kind(entry, _above(folder))
            found[
                {"folder": f"folder {entry.name} that is no part", "image": "image beside the parts"}.get(kind, kind)
            ] += 1
    return found


def told(passed: Counter[str]) -> str:
    """What was passed over, in one line; empty where it was nothing."""
    shown = sorted(passed.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
    more = f" and {left} others" if (left := passed.total() - sum(count for _, count in shown)) else ""
    return f"passed over: {', '.join(f'{count} x {kind}' for kind, count in shown)}{more}" if shown else ""


def is_service(name: str) -> bool:
    """Whether folders of this name are some program's, not data."""
    return name[0] in ".@" or name.lower() in _SERVICE


def _walk(folder: Path, within: str, entered: set[tuple[int, int]], found: Scan) -> None:
    entered.add(_identity(folder))
    for entry in _entries(folder):
        kind = _kind(entry, entered)
        if kind == "folder":
            _walk(Path(entry.path), f"{within}{entry.name}/", entered, found)
        elif kind == "image":
            found.names.append(within + entry.name)
        else:
            found.passed[kind] += 1


def _kind(entry: os.DirEntry[str], entered: set[tuple[int, int]]) -> str:
    """`folder`, `image`, or as what an entry is passed over. A link to nothing is what its name says."""
    try:
        mode = entry.stat().st_mode
    except OSError:
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        if is_service(entry.name):
            return f"service folder {entry.name}"
        return "link to a folder already read" if _identity(Path(entry.path)) in entered else "folder"
    if entry.name.startswith("."):
        return "hidden file"
    if not entry.name.lower().endswith(IMG_EXTENSIONS):
        return f"file {os.path.splitext(entry.name)[1].lower() or 'without a suffix'}"
    return "image" if stat.S_ISREG(mode) else "device or pipe"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"folder {str(folder)!r} cannot be listed: {error.strerror}") from error


def _above(folder: Path) -> set[tuple[int, int]]:
    return {_identity(parent) for parent in folder.absolute().parents}


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino

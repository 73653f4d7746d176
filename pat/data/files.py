"""Image files: decoded, tried, and kept in memory where they are few."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from pat.config import ConfigError, DataError
from pat.data.ahead import ahead, default_workers
from pat.data.cache import cache_file, keep
from pat.data.levels import eight_bits
from pat.data.part import FilePart, FileSplit, Pictures

S = TypeVar("S")
T = TypeVar("T")

HELD_BYTES = 1 << 29
"""Splits of at most this many decoded bytes are decoded once and stay in memory."""
_NAMED = 20
"""Unreadable files that an error names beside the first."""
_CHECKED = 256
"""Files that one worker checks at a time."""


class UnreadableImage(DataError):
    """A file whose bytes are no image that can be decoded to its end."""


def decode(path: Path, draft: int = 0) -> Tensor:
    """RGB pixels uint8 [h, w, 3] of an image file, as timm and torchvision read it; see `read_image`.

    With `draft` a JPEG file is decoded at a half, a quarter or an eighth of its size where its shorter side keeps at
    least so many pixels: fewer coefficients of each block of 8 x 8 are transformed.

    Grey, palette and CMYK images are converted, an alpha channel is dropped, an orientation noted in EXIF is ignored.
    Grey levels of more than 8 bits (`pat.data.levels`), which those two make white, keep their 8 highest.
    """

    def read(image: Image.Image) -> Tensor:
        if draft:
            share = draft / min(image.size)
            image.draft(None, (math.ceil(image.width * share), math.ceil(image.height * share)))
        return torch.from_numpy(np.array(eight_bits(image).convert("RGB")))

    return read_image(path, read)


def read_image(path: Path, read: Callable[[Image.Image], T], whole: bool = True) -> T:
    """What `read` makes of an image file; with `whole` false, of its header.

    Raises UnreadableImage for what is no whole image, DataError for a file that cannot be read at all.
    """
    try:
        source = io.BytesIO(path.read_bytes()) if whole else path.open("rb")
    except OSError as error:
        raise DataError(f"image {str(path)!r} cannot be read: {error.strerror}") from error
    try:
        with source, Image.open(source) as image:
            return read(image)
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"image {str(path)!r} cannot be decoded: no known format") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds for broken files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnreadableImage(f"image {str(path)!r} cannot be decoded: {reason}") from error


def file_status(path: Path) -> os.stat_result:
    """Size, times and the like. Raises DataError for a file that cannot be read."""
    try:
        return path.stat()
    except OSError as error:
        raise DataError(f"image {str(path)!r} cannot be read: {error.strerror}") from error


class Openable(Pictures, Protocol):
    """Pictures that lie in files: one, or an image and its mask."""

    def __len__(self) -> int: ...

    def paths(self, index: int) -> tuple[Path, ...]: ...


@dataclass(frozen=True)
class Files:
    """Files below `root`. Their names lie in one tensor of bytes, which worker processes share: a million Python
    strings would be copied to each. `draft`: as for `decode`."""

    root: str
    names: Tensor
    ends: Tensor
    draft: int = 0

    @classmethod
    def of(cls, root: Path, names: Sequence[str]) -> Files:
        """Raises DataError where there are no names."""
        if not names:
            raise DataError(f"data set folder {str(root)!r} holds no images")
        encoded = [os.fsencode(name) for name in names]
        line = torch.frombuffer(bytearray(b"".join(encoded)), dtype=torch.uint8)
        return cls(str(root), line, torch.tensor([len(name) for name in encoded]).cumsum(0))

    def __len__(self) -> int:
        return len(self.ends)

    def path(self, index: int) -> Path:
        start = int(self.ends[index - 1]) if index else 0
        return Path(self.root, os.fsdecode(self.names[start : int(self.ends[index])].numpy().tobytes()))

    def paths(self, index: int) -> tuple[Path, ...]:
        return (self.path(index),)

    def __getitem__(self, index: int) -> Tensor:
        return decode(self.path(index), self.draft)


@dataclass(frozen=True)
class Held:
    """Decoded pictures of as many `channels` in one line of bytes, and the sizes [N, 2]."""

    line: Tensor
    starts: Tensor
    sizes: Tensor
    channels: int

    @classmethod
    def of(cls, pictures: Sequence[Tensor]) -> Held:
        counts = torch.tensor([picture.numel() for picture in pictures])
        sizes = torch.tensor([picture.shape[:2] for picture in pictures])
        line = torch.cat([picture.flatten() for picture in pictures])
        return cls(line, counts.cumsum(0) - counts, sizes, pictures[0].shape[2])

    def __getitem__(self, index: int) -> Tensor:
        height, width = self.sizes[index].tolist()
        start = int(self.starts[index])
        return self.line[start : start + height * width * self.channels].view(height, width, self.channels)


def drafted(split: S, draft: int) -> S:
    """The same images, decoded as `decode` does. Raises ConfigError for those of memory, which are what they are."""
    if not draft:
        return split
    if not (isinstance(split, FilePart) and isinstance(split.pictures, Files)):
        why = "only for image files that are too many to be held in memory; leave it at 0"
        raise ConfigError(f"recipe.draft = {draft}: {why}")
    return replace(split, pictures=replace(split.pictures, draft=draft))


def read_files(root: Path, names: Sequence[str], labels: Sequence[int], unreadable: str) -> FileSplit:
    """The images `names` below `root` and their labels; see `read_part`."""
    files = Files.of(root, names)
    part, kept = read_part(root, names, files, _decoded_bytes(files), unreadable)
    return FileSplit(**vars(part), labels=torch.tensor(labels)[kept])


def read_part(
    root: Path, names: Sequence[str], openable: Openable, decoded_bytes: int, unreadable: str
) -> tuple[FilePart, Tensor]:
    """The images `names` below `root`, held in memory where their `decoded_bytes` are few, and which of them are kept.

    `unreadable` = "skip" leaves out every file that cannot be decoded to its end and names them on stderr; a split
    that is not held is tried first, in worker processes, and the result kept in the user's cache folder until a file
    changes. "stop" raises DataError for such a file: here, or where a split that is not held meets it.
    """
    held = decoded_bytes <= HELD_BYTES
    pictures, bad = _decode_all(openable, unreadable) if held else ([], [])
    if not held and unreadable == "skip":
        bad = _unreadable(openable, names)
    if bad:
        _warn(root, [names[number] for number in bad])
    if len(bad) == len(openable):
        raise DataError(f"data set folder {str(root)!r} holds no images that can be decoded")
    chosen = torch.ones(len(openable), dtype=torch.bool)
    chosen[bad] = False
    kept = torch.nonzero(chosen).flatten()
    if held:
        rows = torch.arange(len(kept))
        return FilePart(pictures=Held.of(pictures), rows=rows, workers=0, skipped=len(bad)), kept
    return FilePart(pictures=openable, rows=kept, workers=default_workers(), skipped=len(bad)), kept


def _decode_all(pictures: Openable, unreadable: str) -> tuple[list[Tensor], list[int]]:
    """All pictures that can be decoded, and the numbers of the others; with "stop" an error that names these."""
    decoded, bad, errors = [], [], []
    for number in range(len(pictures)):
        try:
            decoded.append(pictures[number])
        except UnreadableImage as error:
            bad.append(number)
            errors.append(error)
    if errors and unreadable == "stop":
        others = [str(pictures.paths(number)[0]) for number in bad[1 : _NAMED + 1]]
        more = f" and {left} more" if (left := len(bad) - 1 - len(others)) else ""
        also = f"; so it is with {', '.join(map(repr, others))}{more}" if others else ""
        raise UnreadableImage(f'{errors[0]}{also}; data.unreadable = "skip" leaves them out') from errors[0]
    return decoded, bad


def _decoded_bytes(files: Files) -> int:
    """What the images take decoded, by the files' headers, read until it is known to be more than HELD_BYTES."""
    total = 0
    for number in range(len(files)):
        try:
            with Image.open(files.path(number)) as image:
                total += image.width * image.height * 3
        except Exception:  # reported when it is decoded
            continue
        if total > HELD_BYTES:
            break
    return total


def _unreadable(pictures: Openable, names: Sequence[str]) -> list[int]:
    """The numbers of the files that cannot be decoded, from the cache or by trying each."""
    digest = hashlib.sha256()
    for number, name in enumerate(names):
        for status in map(file_status, pictures.paths(number)):
            digest.update(os.fsencode(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"))
    cache = cache_file(f"unreadable-{digest.hexdigest()}.json")
    try:
        return [int(number) for number in json.loads(cache.read_text())]
    except (OSError, ValueError):
        pass
    steps = -(-len(pictures) // _CHECKED)
    bad = [number for found in ahead(_Check(pictures), steps, default_workers()) for number in found]
    keep(cache, json.dumps(bad).encode())
    return bad


@dataclass(frozen=True)
class _Check:
    """Numbers of the undecodable files among the next _CHECKED."""

    pictures: Openable

    def __call__(self, step: int) -> list[int]:
        numbers = range(step * _CHECKED, min((step + 1) * _CHECKED, len(self.pictures)))
        return [number for number in numbers if not self._decodes(number)]

    def _decodes(self, number: int) -> bool:
        try:
            self.pictures[number]
        except UnreadableImage:
            return False
        return True


def _warn(root: Path, names: Sequence[str]) -> None:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    listed = ", ".join(names[:20])
    print(f"{len(names)} unreadable images of {str(root)!r} are left out: {listed}{more}", file=sys.stderr)

"""Image files: found, decoded ahead in worker processes, and kept in memory where they are few."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from pat.config import DataError
from pat.data.ahead import ahead, default_workers
from pat.data.pixels import Packed, Pixels, pack, unpack

HELD_BYTES = 1 << 29
"""Splits of at most this many decoded bytes are decoded once and stay in memory."""
_CHECKED = 256
"""Files that one worker checks at a time."""


class UnreadableImage(DataError):
    """A file whose bytes are no image that can be decoded to its end."""


def decode(path: Path) -> Tensor:
    """RGB pixels uint8 [h, w, 3] of an image file, as timm and torchvision read it.

    Grey, palette and CMYK images are converted, an alpha channel is dropped, an orientation noted in EXIF is ignored.
    Raises UnreadableImage for what is no whole image, DataError for a file that cannot be read at all.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"image {str(path)!r} cannot be read: {error.strerror}") from error
    try:
        with Image.open(io.BytesIO(data)) as image:
            return torch.from_numpy(np.array(image.convert("RGB")))
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


class Pictures(Protocol):
    """Images by number, uint8 [h, w, 3], on the CPU; sent to other processes at little cost."""

    def __getitem__(self, index: int) -> Tensor: ...


@dataclass(frozen=True)
class Files:
    """Files below `root`. Their names lie in one tensor of bytes, which worker processes share: a million Python
    strings would be copied to each."""

    root: str
    names: Tensor
    ends: Tensor

    @classmethod
    def of(cls, root: Path, names: Sequence[str]) -> Files:
        encoded = [os.fsencode(name) for name in names]
        line = torch.frombuffer(bytearray(b"".join(encoded)), dtype=torch.uint8)
        return cls(str(root), line, torch.tensor([len(name) for name in encoded]).cumsum(0))

    def __len__(self) -> int:
        return len(self.ends)

    def path(self, index: int) -> Path:
        start = int(self.ends[index - 1]) if index else 0
        return Path(self.root, os.fsdecode(self.names[start : int(self.ends[index])].numpy().tobytes()))

    def __getitem__(self, index: int) -> Tensor:
        return decode(self.path(index))


@dataclass(frozen=True)
class Held:
    """Decoded pictures in one line of bytes, and the sizes [N, 2]."""

    line: Tensor
    starts: Tensor
    sizes: Tensor

    @classmethod
    def of(cls, pictures: Sequence[Tensor]) -> Held:
        counts = torch.tensor([picture.numel() for picture in pictures])
        sizes = torch.tensor([picture.shape[:2] for picture in pictures])
        return cls(torch.cat([picture.flatten() for picture in pictures]), counts.cumsum(0) - counts, sizes)

    def __getitem__(self, index: int) -> Tensor:
        height, width = self.sizes[index].tolist()
        start = int(self.starts[index])
        return self.line[start : start + height * width * 3].view(height, width, 3)


@dataclass(frozen=True)
class FileSplit:
    """Images in files and their labels int64 [N]; `rows` [N] says which of `pictures` they are.

    Images keep their full decoded size until they are on the device, so photographs of many megapixels cost memory:
    two batches for each of the `workers` processes are under way, three bytes a pixel, in shared memory. Which
    process decodes an image, and whether it is held in memory, never changes a pixel. `skipped` files were unreadable.
    """

    pictures: Pictures
    rows: Tensor
    labels: Tensor
    workers: int
    skipped: int = 0

    @property
    def device(self) -> torch.device:
        return self.labels.device

    @property
    def strata(self) -> Tensor:
        return self.labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> FileSplit:
        return replace(self, rows=self.rows[indices.cpu()], labels=self.labels[indices])

    def to(self, device: torch.device) -> FileSplit:
        return replace(self, labels=self.labels.to(device))

    def picture(self, index: int) -> Tensor:
        return self.pictures[int(self.rows[index])]

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Pixels]:
        if len(batches) == 0:
            return
        device = self.labels.device
        ends = torch.tensor([len(batch) for batch in batches]).cumsum(0)
        work = _Batches(self.pictures, self.rows[torch.cat(list(batches)).cpu()], ends)
        for packed in ahead(work, len(batches), self.workers, pin=device.type == "cuda"):
            yield unpack(packed, device)


@dataclass(frozen=True)
class _Batches:
    """Decodes and packs one batch after the other; `rows` are those of all batches, which end at `ends`."""

    pictures: Pictures
    rows: Tensor
    ends: Tensor

    def __call__(self, step: int) -> Packed:
        start = int(self.ends[step - 1]) if step else 0
        return pack([self.pictures[row] for row in self.rows[start : int(self.ends[step])].tolist()])


def read_files(root: Path, names: Sequence[str], labels: Sequence[int], unreadable: str) -> FileSplit:
    """The images `names` below `root`, held in memory where all of them are small enough.

    `unreadable` = "skip" leaves out every file that cannot be decoded to its end and names them on stderr; a split
    that is not held is tried first, in worker processes, and the result kept in the user's cache folder until a file
    changes. "stop" raises DataError for such a file: here, or where a split that is not held meets it.
    """
    files = Files.of(root, names)
    small = _small(files)
    pictures, bad = _decode_all(files, unreadable) if small else ([], [])
    if not small and unreadable == "skip":
        bad = _unreadable(files, names)
    if bad:
        _warn(root, [names[number] for number in bad])
    if len(bad) == len(files):
        raise DataError(f"data set folder {str(root)!r} holds no images that can be decoded")
    chosen = torch.ones(len(files), dtype=torch.bool)
    chosen[bad] = False
    rows, kept = torch.nonzero(chosen).flatten(), torch.tensor(labels)[chosen]
    if small:
        return FileSplit(Held.of(pictures), torch.arange(len(kept)), kept, workers=0, skipped=len(bad))
    return FileSplit(files, rows, kept, default_workers(), skipped=len(bad))


def _decode_all(files: Files, unreadable: str) -> tuple[list[Tensor], list[int]]:
    """All pictures that can be decoded, and the numbers of the others."""
    pictures, bad = [], []
    for number in range(len(files)):
        try:
            pictures.append(files[number])
        except UnreadableImage:
            if unreadable == "stop":
                raise
            bad.append(number)
    return pictures, bad


def _small(files: Files) -> bool:
    """Whether the images' decoded pixels fit in HELD_BYTES, by the files' headers, read until it is known."""
    total = 0
    for number in range(len(files)):
        try:
            with Image.open(files.path(number)) as image:
                total += image.width * image.height * 3
        except Exception:  # reported when it is decoded
            continue
        if total > HELD_BYTES:
            return False
    return True


def _unreadable(files: Files, names: Sequence[str]) -> list[int]:
    """The numbers of the files that cannot be decoded, from the cache or by trying each."""
    digest = hashlib.sha256()
    for number, name in enumerate(names):
        status = file_status(files.path(number))
        digest.update(os.fsencode(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pat"
    cache /= f"unreadable-{digest.hexdigest()}.json"
    try:
        return [int(number) for number in json.loads(cache.read_text())]
    except (OSError, ValueError):
        pass
    steps = -(-len(files) // _CHECKED)
    bad = [number for found in ahead(_Check(files), steps, default_workers()) for number in found]
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        fresh = cache.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(bad))
        fresh.replace(cache)
    except OSError:
        pass  # then they are tried again next time
    return bad


@dataclass(frozen=True)
class _Check:
    """Numbers of the undecodable files among the next _CHECKED."""

    files: Files

    def __call__(self, step: int) -> list[int]:
        numbers = range(step * _CHECKED, min((step + 1) * _CHECKED, len(self.files)))
        return [number for number in numbers if not self._decodes(number)]

    def _decodes(self, number: int) -> bool:
        try:
            self.files[number]
        except UnreadableImage:
            return False
        return True


def _warn(root: Path, names: Sequence[str]) -> None:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    listed = ", ".join(names[:20])
    print(f"{len(names)} unreadable images of {str(root)!r} are left out: {listed}{more}", file=sys.stderr)

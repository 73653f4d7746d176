"""What the training loop needs of the world, and the world that is one folder on this machine."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import torch
from safetensors.torch import save
from torch import Tensor

from pat.config import StorageError
from pat.kept import CHECKPOINT as CHECKPOINT
from pat.kept import CONFIG as CONFIG
from pat.kept import PREVIOUS as PREVIOUS
from pat.kept import STUDENT as STUDENT
from pat.kept import UNREADABLE as UNREADABLE

T = TypeVar("T")


class IO(Protocol):
    """One worker's view of the world: who it is, where its checkpoint lies, whom it tells."""

    rank: int
    world_size: int
    device: torch.device

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, None at the start."""

    def report(self, history: list[dict[str, Any]], state: dict[str, Any]) -> None:
        """Called by every worker after each epoch, with all epochs so far and what a continuation needs."""

    def due(self) -> bool:
        """Asked of every worker now and then within an epoch; all get the same answer. True: `keep` is wanted."""

    def stepped(self, epoch: int, images: int, of: int) -> None:
        """Told to every worker now and then within an epoch (from 0): how many images of how many have been seen."""

    def keep(self, state: dict[str, Any]) -> None:
        """Called by every worker within an epoch, with what a continuation needs."""

    def asked_to_stop(self) -> bool:
        """Asked of every worker after each epoch; all get the same answer. True: the run pauses where it is."""

    def export(self, weights: dict[str, Tensor]) -> str:
        """Stores the finished student; returns the SHA-256 of its file."""


class Files(Protocol):
    """The files of one run: each whole or absent, and lasting once it is written."""

    def load(self, name: str, load: Callable[[BinaryIO], T]) -> T | None:
        """What `load` makes of a file; None where there is none."""

    def save(self, name: str, save: Callable[[BinaryIO], object], previous: str = "") -> None:
        """A file of what `save` writes; the one that may be there is called `previous` from then on, or goes."""

    def move(self, name: str, new_name: str) -> None:
        """Call a file that is there another name."""


class LocalFiles:
    """A folder. Files are written under a name that begins with `_` and that no two processes share, then renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(error) from error

    def load(self, name: str, load: Callable[[BinaryIO], T]) -> T | None:
        try:
            with (self.folder / name).open("rb") as file:
                return load(file)
        except FileNotFoundError:
            return None

    def save(self, name: str, save: Callable[[BinaryIO], object], previous: str = "") -> None:
        partial = self.folder / f"_{uuid.uuid4().hex}_{name}"
        try:
            with partial.open("xb") as file:
                save(file)
                file.flush()
                os.fsync(file.fileno())
            if previous and (self.folder / name).exists():
                (self.folder / name).replace(self.folder / previous)
            self.move(partial.name, name)
        except OSError as error:
            raise self._refused(error) from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def move(self, name: str, new_name: str) -> None:
        try:
            (self.folder / name).replace(self.folder / new_name)
            handle = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(handle)  # the names, too, outlast a power cut
            finally:
                os.close(handle)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(f"storage {str(self.folder)!r} cannot be written: {error.strerror}")


class LocalIO:
    """A folder: `checkpoint.pt` while the run goes on, `student.safetensors` at its end. No Ray.

    The checkpoint before the last one is kept. One that cannot be read is set aside, which is said in a line, and the
    run goes on from the one before it, else from the start. `stop` is asked after each epoch whether the run is to
    pause; `files` are the folder's, `LocalFiles` by default.
    """

    rank, world_size = 0, 1
    every = 600.0
    """Seconds from one checkpoint to the next, where an epoch takes longer."""

    def __init__(
        self,
        folder: Path,
        on_epoch: Callable[[list[dict[str, Any]]], None] | None = None,
        stop: Callable[[], bool] | None = None,
        files: Files | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.folder, self.on_epoch, self.stop = Path(folder), on_epoch, stop
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.files = files or LocalFiles(self.folder)
        self._kept = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        for name in (CHECKPOINT, PREVIOUS):
            try:
                state = self.files.load(name, _read)
            except _Unreadable as error:
                self._set_aside(name, str(error))
            else:
                if state is not None:
                    return state
        return None

    def report(self, history: list[dict[str, Any]], state: dict[str, Any]) -> None:
        self.keep(state)
        if self.rank == 0 and self.on_epoch:
            self.on_epoch(history)

    def stepped(self, epoch: int, images: int, of: int) -> None:
        """Nobody looks on."""

    def due(self) -> bool:
        return time.monotonic() - self._kept >= self.every

    def keep(self, state: dict[str, Any]) -> None:
        if self.rank == 0:
            self.files.save(CHECKPOINT, lambda file: torch.save(state, file), PREVIOUS)
        self._kept = time.monotonic()

    def asked_to_stop(self) -> bool:
        return self.stop is not None and self.stop()

    def export(self, weights: dict[str, Tensor]) -> str:
        if self.rank != 0:
            return ""
        content = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
        self.files.save(STUDENT, lambda file: file.write(content))
        return hashlib.sha256(content).hexdigest()

    def _set_aside(self, name: str, reason: str) -> None:
        if self.rank == 0:
            aside = f"{UNREADABLE}_{uuid.uuid4().hex}.pt"
            self.files.move(name, aside)
            line = f"checkpoint {str(self.folder / name)!r} cannot be read ({reason}): set aside as {aside}"
            print(line, file=sys.stderr, flush=True)


class _Unreadable(Exception):
    """A checkpoint's file that is there and holds none."""


def _read(file: BinaryIO) -> dict[str, Any]:
    """Raises _Unreadable, or OSError where not the file but the storage fails."""
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        return state
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (
            None,
            errno.EINVAL,
        ):  # EINVAL: to seek beyond a short file
            raise
        raise _Unreadable(type(error).__name__) from error

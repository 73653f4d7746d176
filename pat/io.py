"""What the training loop needs of the world, and the world that is one folder on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save
from torch import Tensor

from pat.config import ConfigError, StorageError
from pat.models import sha256

CHECKPOINT, STUDENT = "checkpoint.pt", "student.safetensors"


class IO(Protocol):
    """One worker's view of the world: who it is, where its checkpoint lies, whom it tells."""

    rank: int
    world_size: int
    device: torch.device

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, None at the start."""

    def report(self, history: list[dict[str, Any]], state: dict[str, Any]) -> None:
        """Called by every worker after each epoch, with all epochs so far and what a continuation needs."""

    def asked_to_stop(self) -> bool:
        """Asked of every worker after each epoch; all get the same answer. True: the run pauses where it is."""

    def export(self, weights: dict[str, Tensor]) -> str:
        """Stores the finished student; returns the SHA-256 of its file."""


class LocalIO:
    """A folder: `checkpoint.pt` while the run goes on, `student.safetensors` at its end. No Ray.

    Files appear whole or not at all: written under a name that begins with `_`, then renamed. `stop` is asked after
    each epoch whether the run is to pause.
    """

    rank, world_size = 0, 1

    def __init__(
        self,
        folder: Path,
        on_epoch: Callable[[list[dict[str, Any]]], None] | None = None,
        stop: Callable[[], bool] | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.folder, self.on_epoch, self.stop = Path(folder), on_epoch, stop
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"storage {str(folder)!r} cannot be written: {error.strerror}") from error

    def load(self) -> dict[str, Any] | None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ConfigError(f"checkpoint {str(path)!r} cannot be read ({type(error).__name__})") from error

    def report(self, history: list[dict[str, Any]], state: dict[str, Any]) -> None:
        if self.rank == 0:
            self._write(CHECKPOINT, lambda path: torch.save(state, path))
            if self.on_epoch:
                self.on_epoch(history)

    def asked_to_stop(self) -> bool:
        return self.stop is not None and self.stop()

    def export(self, weights: dict[str, Tensor]) -> str:
        if self.rank == 0:
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
            self._write(STUDENT, lambda path: path.write_bytes(save(tensors)))
        return sha256(self.folder / STUDENT) if self.rank == 0 else ""

    def _write(self, name: str, save: Callable[[Path], object]) -> None:
        partial = self.folder / f"_{os.getpid()}_{name}"
        try:
            save(partial)
            partial.replace(self.folder / name)
        except OSError as error:
            raise StorageError(f"storage {str(self.folder)!r} cannot be written: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)

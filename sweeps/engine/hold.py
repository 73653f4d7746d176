"""A process's hold on a run: what it writes there counts until another process takes the run.

A machine that Ray takes for dead may only be cut off. Its process goes on for a while, and must not write over what its
successor has found: on GPUs the same training gives other bytes.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from analysis import storage
from sweeps.engine.health import here
from sweeps.engine.jobs import WHERE

T = TypeVar("T")


class Superseded(OSError):
    """Another process has taken the run, or the driver has given this one up: nothing more may be written."""


class Hold:
    """The files of a run's folder (`pat.io.Files`) as this process may write them, once it has taken the run.

    `WHERE` says who has it: host, pid, device, and a name that no other attempt has. It is looked at before each write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.attempt, self.taken = folder, uuid.uuid4().hex, False

    def take(self, device: str) -> None:
        """From now on no earlier attempt may write."""
        host, slot = here()
        where = {"host": host, "slot": slot, "pid": os.getpid(), "device": device, "attempt": self.attempt}
        storage.write_file(self.folder, WHERE, json.dumps(where).encode())
        self.taken = True

    def check(self) -> None:
        """Raises Superseded where the run is no longer this process's."""
        if self.taken and not self._own():
            raise Superseded(f"another process has taken the run in {str(self.folder)!r}")

    def drop(self) -> None:
        """The run is nobody's."""
        if self.taken and self._own():
            storage.remove_file(self.folder, WHERE)
        self.taken = False

    def _own(self) -> bool:
        text = storage.read_file(self.folder, WHERE)
        return text is not None and json.loads(text).get("attempt") == self.attempt

    def load(self, name: str, load: Callable[[BinaryIO], T]) -> T | None:
        return storage.load_file(self.folder, name, load)

    def save(self, name: str, save: Callable[[BinaryIO], object], previous: str = "") -> None:
        self.check()
        storage.save_file(self.folder, name, save, previous)

    def move(self, name: str, new_name: str) -> None:
        self.check()
        storage.move_file(self.folder, name, self.folder, new_name)

"""A disk that several machines share, in memory and in virtual time, and what goes wrong with it: a plan of faults.

Each process has a `Client`, a disk in the sense of `analysis.disk`. NFS takes a name for absent for a minute after it
was found absent, unless the process changes something in that folder. An object store shows what others wrote late.
Names that were not synced are lost with the power. Content is written through, as `Disk.write` promises.
"""

from __future__ import annotations

import errno
import io
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from analysis.disk import Disk, Found

KINDS = ("error", "answer", "full", "kill", "half", "power", "jump", "tear")
"""An operation fails for a while; is done, but its answer is lost; nothing more can be written for a while; a process
dies at an operation, or half way through a write; all of them do; the clock jumps; a checkpoint is half there."""
ABSENT_SECONDS = 60.0
PASSING = (errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT)


class Killed(BaseException):
    """The process whose operation this was is no more."""


class PowerCut(BaseException):
    """No process is any more."""


@dataclass
class Version:
    """A file's content (None: removed), who wrote it, when others see it, and its stamp."""

    content: bytes | None
    writer: str
    visible: float
    mtime_ns: int


@dataclass
class Server:
    """What is on the disk. `plan`: number of an operation -> fault, with a number that says how bad it is.

    `late`: seconds after which others see a change, 0 but for an object store. `nfs`: whether clients remember what
    was absent.
    """

    plan: dict[int, tuple[str, int]]
    rng: random.Random
    nfs: bool = False
    late: float = 0.0
    now: float = 0.0
    clock: float = 1e9
    operations: int = 0
    files: dict[str, list[Version]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {"/"})
    unsynced: list[tuple[set[str], Callable[[], None]]] = field(default_factory=list)
    failing: int = 0
    full: int = 0
    torn: bool = False
    happened: list[str] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def put(self, path: str, content: bytes | None, writer: str) -> None:
        """A new version of a file; may be undone until its folder is synced."""
        before = list(self.files.get(path, ()))
        seen = [number for number, version in enumerate(before) if version.visible <= self.now]
        delay = self.late * self.rng.random() if self.late else 0.0
        version = Version(content, writer, self.now + delay, int((self.clock + self.now) * 1e9))
        self.files[path] = [*before[max(seen, default=0) :], version]
        self.unsynced.append(({os.path.dirname(path)}, lambda: self.files.__setitem__(path, before)))

    def make(self, folder: str) -> None:
        if folder not in self.folders:
            parent = os.path.dirname(folder)
            self.make(parent)
            self.folders.add(folder)
            self.unsynced.append(({parent}, lambda: self._unmake(folder)))

    def _unmake(self, folder: str) -> None:
        self.folders = {name for name in self.folders if not f"{name}/".startswith(f"{folder}/")}
        self.files = {path: kept for path, kept in self.files.items() if not path.startswith(f"{folder}/")}

    def sync(self, folder: str) -> None:
        for places, _ in self.unsynced:
            places.discard(folder)
        self.unsynced = [entry for entry in self.unsynced if entry[0]]

    def cut_power(self) -> None:
        """Of the changes of names that were not synced, the last ones are lost, however many."""
        lost = self.rng.randint(0, len(self.unsynced))
        for _, undo in reversed(self.unsynced[len(self.unsynced) - lost :]):
            undo()
        self.unsynced = []


class Client(Disk):
    """The disk as one process sees it."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name, self.dead = server, name, False
        self._absent: dict[str, float] = {}
        self._answer_lost = False

    def write(self, path: str, save: Callable[[BinaryIO], object]) -> None:
        half = self._operation("write", path)
        self._needs(os.path.dirname(path))
        if self.server.full > 0:
            self.server.full -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        buffer = io.BytesIO()
        save(buffer)
        content = buffer.getvalue()
        if half:
            self._put(path, content[: len(content) // 2])
            self._die()
        if self.server.torn and path.endswith("checkpoint.pt"):
            self.server.torn, content = False, content[: len(content) // 2]
        self._put(path, content)
        self._answer()

    def open(self, path: str) -> BinaryIO:
        self._operation("open", path)
        content = self._see(path)
        if content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return io.BytesIO(content)

    def rename(self, source: str, target: str) -> None:
        self._operation("rename", source)
        self._needs(os.path.dirname(target))
        content = self._see(source)
        if content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)
        before = len(self.server.unsynced)
        self._put(target, content)
        self._put(source, None)
        together = self.server.unsynced[before:]
        places = set.union(*(entry[0] for entry in together))
        undo = [entry[1] for entry in together]
        self.server.unsynced[before:] = [(places, lambda: [step() for step in reversed(undo)] and None)]
        self._answer()

    def remove(self, path: str) -> None:
        self._operation("remove", path)
        if self._see(path) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self._put(path, None)
        self._answer()

    def make(self, folder: str) -> None:
        self._operation("make", folder)
        self.server.make(folder)
        self._forget(os.path.dirname(folder))

    def sync(self, folder: str) -> None:
        self._operation("sync", folder)
        self._needs(folder)
        self.server.sync(folder)

    def exists(self, path: str) -> bool:
        self._operation("exists", path)
        return path in self.server.folders or self._see(path) is not None

    def names(self, folder: str) -> list[str]:
        self._operation("names", folder)
        below = {path[len(folder) + 1 :].partition("/")[0] for path in self._below(folder)}
        return sorted(below | {os.path.basename(n) for n in self.server.folders if os.path.dirname(n) == folder})

    def files(self, folder: str, below: str = "") -> Iterator[Found]:
        self._operation("files", folder)
        for path in self._below(folder):
            version = self._version(path)
            assert version is not None and version.content is not None
            yield Found(path[len(folder) + 1 :], len(version.content), version.mtime_ns)

    def refresh(self, folder: str) -> None:
        self._operation("refresh", folder)
        self.server.make(folder)
        self._forget(folder)

    def lag(self, folder: str) -> float:
        return self.server.late

    def _below(self, folder: str) -> list[str]:
        return [
            path for path in list(self.server.files) if path.startswith(f"{folder}/") and self._see(path) is not None
        ]

    def _version(self, path: str) -> Version | None:
        seen = (v for v in self.server.files.get(path, ()) if v.writer == self.name or v.visible <= self.server.now)
        return max(seen, key=lambda version: self.server.files[path].index(version), default=None)

    def _see(self, path: str) -> bytes | None:
        if self.server.nfs and self._absent.get(path, -1.0) > self.server.now:
            return None
        version = self._version(path)
        if version is None or version.content is None:
            self._absent[path] = self.server.now + ABSENT_SECONDS
            return None
        return version.content

    def _put(self, path: str, content: bytes | None) -> None:
        self.server.put(path, content, self.name)
        self._forget(os.path.dirname(path))

    def _forget(self, folder: str) -> None:
        """What changes in a folder through this client shows it what others have changed there."""
        self._absent = {path: end for path, end in self._absent.items() if os.path.dirname(path) != folder}

    def _needs(self, folder: str) -> None:
        if folder not in self.server.folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)

    def _operation(self, what: str, path: str) -> bool:
        """Counts, and does what the plan says; whether a write is to end half way."""
        if self.dead:
            raise Killed
        server = self.server
        server.operations += 1
        server.now += 0.001
        kind, amount = server.plan.get(server.operations, ("", 0))
        if kind:
            server.happened.append(kind)
        if kind == "error":
            server.failing = amount
        elif kind == "full":
            server.full = amount
        elif kind == "jump":
            server.clock += amount
        elif kind == "tear":
            server.torn = True
        elif kind == "answer":
            self._answer_lost = True
        elif kind == "power":
            server.cut_power()
            raise PowerCut
        elif kind == "kill":
            self._die()
        if server.failing:
            server.failing -= 1
            number = server.rng.choice(PASSING)
            raise OSError(number, os.strerror(number), path)
        return kind == "half" and what == "write"

    def _answer(self) -> None:
        if self._answer_lost:
            self._answer_lost = False
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _die(self) -> None:
        self.dead = True
        raise Killed

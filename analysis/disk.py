"""A local or mounted disk: the few operations that a study's files are made of, in one place.

`storage` alone calls them. Tests put a simulated disk in their place, which loses, delays and refuses.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NamedTuple

ABSENT = (FileNotFoundError, NotADirectoryError)
MOUNTS = "/proc/self/mountinfo"
LAG_SECONDS = 90.0
"""For how long a mounted object store may show what it showed before; caches of names live for a minute."""


class Found(NamedTuple):
    """A file below a folder: its path from there, its size in bytes, and when it changed."""

    path: str
    size: int
    mtime_ns: int


class Disk:
    """The disk that is there. Raises OSError as the system does."""

    def write(self, path: str, save: Callable[[BinaryIO], object]) -> None:
        """A new file of what `save` writes; its bytes are on the disk when this returns, its name may not be."""
        with open(path, "xb") as file:
            save(file)
            file.flush()
            os.fsync(file.fileno())

    def open(self, path: str) -> BinaryIO:
        return open(path, "rb")

    def rename(self, source: str, target: str) -> None:
        """In the place of the file that may be there."""
        os.replace(source, target)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def make(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)

    def sync(self, folder: str) -> None:
        """The names in a folder, as they are now, outlast a power cut."""
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def exists(self, path: str) -> bool:
        try:
            os.stat(path)
        except ABSENT:
            return False
        return True

    def names(self, folder: str) -> list[str]:
        """What lies in a folder, in any order; nothing where there is none."""
        try:
            return os.listdir(folder)
        except ABSENT:
            return []

    def files(self, folder: str, below: str = "") -> Iterator[Found]:
        """Every file below a folder, in any order; one that goes away meanwhile is left out."""
        try:
            entries = list(os.scandir(folder))
        except ABSENT:
            return
        for entry in entries:
            if entry.is_dir():
                yield from self.files(entry.path, f"{below}{entry.name}/")
                continue
            try:
                facts = entry.stat()
            except ABSENT:
                continue
            yield Found(below + entry.name, facts.st_size, facts.st_mtime_ns)

    def refresh(self, folder: str) -> None:
        """Look at a folder anew: for up to a minute NFS takes a name for absent that another machine has made since.

        A name of one's own in the folder, made and removed, ends that (nfs(5), "directory entry caching").
        """
        os.makedirs(folder, exist_ok=True)
        path = f"{folder}/_{uuid.uuid4().hex}"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.unlink(path)

    def lag(self, folder: str) -> float:
        """For how many seconds a folder may look as it did before another machine changed it, refreshed or not.

        Object stores are mounted through FUSE; images of containers are as well, and no other machine writes there.
        """
        try:
            with open(MOUNTS, encoding="utf-8") as mounts:
                kind = _kind(os.path.realpath(folder), mounts)
        except OSError:
            return 0.0
        return LAG_SECONDS if kind.split(".")[0] == "fuse" and "overlay" not in kind else 0.0


def _kind(path: str, mounts: Iterable[str]) -> str:
    """The type of the file system on which a path lies: that of the deepest mount, the last of several in one place
    (proc(5), "mountinfo")."""
    best, kind = "", ""
    for line in mounts:
        where, _, what = line.partition(" - ")
        place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), where.split()[4])
        if f"{path}/".startswith(f"{place.rstrip('/')}/") and len(place) >= len(best):
            best, kind = place, what.split()[0]
    return kind

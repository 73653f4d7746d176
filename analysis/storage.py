"""Files on a local disk or an object store: whole or absent, under a path or the URI of any Arrow filesystem.

What passes - a server that starts anew, a connection that broke - is waited for, some minutes long.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow as pa
from pyarrow import fs

from analysis.disk import ABSENT, Disk, Found
from analysis.points import WRITE, reached
from analysis.schema import LedgerError

Folder = str | Path
T = TypeVar("T")

disk = Disk()

HALF_WRITTEN = re.compile("_[0-9a-f]{32}_")
"""How a name begins under which a file is written, until it is called by its own."""
PATIENCE = 300.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds in all, before the second try, and between two of the later ones."""
PASSES = frozenset(
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "EAGAIN", "EBUSY", "ETIMEDOUT", "ECONNRESET", "ECONNREFUSED", "ECONNABORTED", "ENOTCONN",
        "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET", "EREMOTEIO", "ENOLCK",
    )
)  # fmt: skip
"""Errors of a mounted disk that may be gone at the next try."""
PASSES_IN_WORDS = (
    "timeout", "timed out", "slow_down", "slowdown", "throttl", "too many requests", "network_connection",
    "internal_failure", "service_unavailable", "unavailable", "deadline_exceeded", "connection reset", "curl error",
)  # fmt: skip
"""The same for object stores, whose errors have no number."""


def write_file(folder: Folder, name: str, data: bytes) -> None:
    """Write `folder`/`name` as a whole or not at all. Raises LedgerError, in one line, where the storage refuses."""
    filesystem, root = open_folder(folder)
    put(filesystem, f"{root}/{name}", data, f"{folder}/{name}")


def save_file(folder: Folder, name: str, save: Callable[[BinaryIO], object], previous: str = "") -> None:
    """The same, on a local or mounted disk, with what `save` writes, which may be asked to do so again. The file that
    may be there is called `previous` from then on."""
    path = f"{os.path.abspath(folder)}/{name}"
    _patiently(lambda: _write_local(path, save, previous), f"write {path}")


def read_file(folder: Folder, name: str) -> bytes | None:
    """The bytes of `folder`/`name`, or None where it does not exist."""
    filesystem, root = open_folder(folder)
    data = get(filesystem, f"{root}/{name}")
    return None if data is None else data.to_pybytes()


def load_file(folder: Folder, name: str, load: Callable[[BinaryIO], T]) -> T | None:
    """What `load` makes of a file on a local or mounted disk, or None where it does not exist.

    Raises LedgerError where it cannot be read, and whatever else `load` does.
    """
    path = f"{os.path.abspath(folder)}/{name}"

    def loaded() -> T | None:
        try:
            with disk.open(path) as file:
                return load(file)
        except ABSENT:
            return None

    return _patiently(loaded, f"read {path}")


def list_files(folder: Folder, place: str) -> list[str]:
    """The names of the files in `folder`/`place`, sorted, without temporary ones; empty where that does not exist."""
    filesystem, root = open_folder(folder)
    if isinstance(filesystem, fs.LocalFileSystem):
        return [found.path for found in stamped(filesystem, f"{root}/{place}") if "/" not in found.path]
    selector = fs.FileSelector(f"{root}/{place}", allow_not_found=True)
    found = _patiently(lambda: filesystem.get_file_info(selector), f"list {root}/{place}")
    return sorted(info.base_name for info in found if info.is_file and not info.base_name.startswith("_"))


def list_temporary(folder: Folder) -> list[str]:
    """The names in a folder on a local or mounted disk that no reader of the ledger sees, sorted."""
    path = os.path.abspath(folder)
    return sorted(name for name in _patiently(lambda: disk.names(path), f"list {path}") if name.startswith("_"))


def remove_half_written(folder: Folder) -> None:
    """Remove what killed processes had begun to write in a folder on a local or mounted disk; nobody may be writing."""
    for name in list_temporary(folder):
        if HALF_WRITTEN.match(name):
            remove_file(folder, name)


def exists(folder: Folder, name: str) -> bool:
    """Whether `folder`/`name` is there, on a local or mounted disk."""
    path = f"{os.path.abspath(folder)}/{name}"
    return _patiently(lambda: disk.exists(path), f"read {path}")


def refresh(folder: Folder) -> None:
    """Make the folder, and see in it what other machines of a mounted disk have made there up to now."""
    path = os.path.abspath(folder)
    _patiently(lambda: disk.refresh(path), f"read {path}")


def catch_up(folder: Folder) -> None:
    """See what other machines have written up to now: where the disk may show that late it is waited for, and said."""
    if seconds := disk.lag(os.path.abspath(folder)):
        print(f"waiting {seconds:.0f} s: {folder} may show late what others wrote", file=sys.stderr, flush=True)
        time.sleep(seconds)


def remove_file(folder: Folder, name: str) -> None:
    """Remove `folder`/`name`, which may have gone already."""
    filesystem, root = open_folder(folder)

    def remove() -> None:
        try:
            if isinstance(filesystem, fs.LocalFileSystem):
                disk.remove(f"{root}/{name}")
            else:
                filesystem.delete_file(f"{root}/{name}")
        except ABSENT:
            return

    _patiently(remove, f"remove {folder}/{name}")


def move_file(folder: Folder, name: str, target: Folder, new_name: str) -> None:
    """Move a file on a local or mounted disk, in the place of one that may be there.

    A server that did so and whose answer was lost is asked again, and then finds no such file: that is no error.
    """
    source, path = f"{os.path.abspath(folder)}/{name}", f"{os.path.abspath(target)}/{new_name}"
    tries = 0

    def move() -> None:
        nonlocal tries
        tries += 1
        _make(os.path.dirname(path))
        try:
            disk.rename(source, path)
        except FileNotFoundError:
            if tries == 1 or not disk.exists(path):
                raise
        for place in {os.path.dirname(path), os.path.dirname(source)}:
            disk.sync(place)

    _patiently(move, f"move {source}")


def names(filesystem: fs.FileSystem, path: str) -> list[str]:
    """What lies in a folder and is not temporary, sorted; empty where that does not exist."""
    if isinstance(filesystem, fs.LocalFileSystem):
        found = _patiently(lambda: disk.names(path), f"list {path}")
    else:
        selector = fs.FileSelector(path, allow_not_found=True)
        found = [info.base_name for info in _patiently(lambda: filesystem.get_file_info(selector), f"list {path}")]
    return sorted(name for name in found if not name.startswith("_"))


def stamped(filesystem: fs.FileSystem, path: str) -> list[Found]:
    """Every file below a folder with its stamp, in order; those with a temporary name are left out."""
    if isinstance(filesystem, fs.LocalFileSystem):
        every = _patiently(lambda: list(disk.files(path)), f"list {path}")
    else:
        selector = fs.FileSelector(path, allow_not_found=True, recursive=True)
        infos = _patiently(lambda: filesystem.get_file_info(selector), f"list {path}")
        every = [Found(os.path.relpath(one.path, path), one.size, one.mtime_ns) for one in infos if one.is_file]
    return sorted(found for found in every if not any(part[0] == "_" for part in found.path.split("/")))


def open_folder(folder: Folder) -> tuple[fs.FileSystem, str]:
    """The filesystem of a path or URI, and the folder's path inside it, without a slash at its end."""
    text = str(folder)
    if "://" not in text:
        return fs.LocalFileSystem(), os.path.abspath(text)
    try:
        filesystem, path = fs.FileSystem.from_uri(text)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise LedgerError(f"{text}: not a storage that Arrow can open: {str(error).splitlines()[0]}") from error
    return filesystem, path.rstrip("/")


def put(filesystem: fs.FileSystem, path: str, data: bytes, name: str = "") -> None:
    """Write one file as a whole or not at all; `name` is what an error calls it. Raises LedgerError."""

    def write() -> None:
        if isinstance(filesystem, fs.LocalFileSystem):
            _write_local(path, lambda file: file.write(data))
        else:
            _put(filesystem, path, data)

    _patiently(write, f"write {name or path}")


def get(filesystem: fs.FileSystem, path: str) -> pa.Buffer | None:
    """The bytes of one file, fetched in one request, or None where it does not exist. Raises LedgerError."""

    def fetched() -> pa.Buffer | None:
        try:
            if isinstance(filesystem, fs.LocalFileSystem):
                with disk.open(path) as file:
                    return pa.py_buffer(file.read())
            with filesystem.open_input_stream(path) as stream:
                return stream.read_buffer()
        except ABSENT:
            return None

    return _patiently(fetched, f"read {path}")


def _write_local(path: str, save: Callable[[BinaryIO], object], previous: str = "") -> None:
    """A name that no two processes share, fsync, rename, fsync of the folder: after a power cut the file is the old one
    or the new one."""
    folder, name = os.path.split(path)
    _make(folder)
    temporary = f"{folder}/_{uuid.uuid4().hex}_{name}"
    try:
        disk.write(temporary, save)
        reached(WRITE + name)
        if previous:
            with suppress(FileNotFoundError):
                disk.rename(path, f"{folder}/{previous}")
            reached("checkpoint between renames")
        disk.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            disk.remove(temporary)
        raise
    disk.sync(folder)


def _make(folder: str) -> None:
    """A folder whose own name, too, outlasts a power cut."""
    if not disk.exists(folder):
        _make(os.path.dirname(folder))
        disk.make(folder)
        disk.sync(os.path.dirname(folder))


def _put(filesystem: fs.FileSystem, path: str, data: bytes) -> None:
    """One PUT. Object stores know no folders; mounted filesystems want theirs made first."""
    try:
        stream = filesystem.open_output_stream(path)
    except FileNotFoundError:
        filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        stream = filesystem.open_output_stream(path)
    with stream:
        stream.write(data)


def _patiently(act: Callable[[], T], what: str) -> T:
    """What `act` gives; tried again with longer and longer pauses while it fails as what passes does, which is said.

    Raises LedgerError, in one line, for other errors of the storage, and once PATIENCE is at its end.
    """
    pause, waited = FIRST_PAUSE, 0.0
    while True:
        try:
            return act()
        except OSError as error:
            reason = error.strerror or (str(error).splitlines() or [type(error).__name__])[0]
            if not passes(error):
                raise LedgerError(f"cannot {what}: {reason}") from error
            if waited >= PATIENCE:
                raise LedgerError(f"cannot {what}: {reason}, for {PATIENCE / 60:.0f} minutes") from error
        if waited < 1 <= waited + pause:
            print(f"waiting: cannot {what}: {reason}; tried again", file=sys.stderr, flush=True)
        time.sleep(pause)
        waited += pause
        pause = min(2 * pause, LONGEST_PAUSE)


def passes(error: OSError) -> bool:
    """Whether an error of the storage may be gone at the next try."""
    if isinstance(error, TimeoutError) or error.errno in PASSES:
        return True
    return error.errno is None and any(words in str(error).lower() for words in PASSES_IN_WORDS)

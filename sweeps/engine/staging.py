"""A data set on the local disk of each machine, copied there once from where all machines can read it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs

from analysis.schema import LedgerError
from analysis.storage import open_folder
from pat.config import Data, DataError
from pat.data import data_folder
from sweeps.looking.words import size

MARGIN = 1 << 30
"""Bytes that a copy leaves free on the disk."""


def stage(data: Data, source: str, target: Path) -> str:
    """Bring the files of a data set from the root `source` (a folder, or the URI of an Arrow filesystem) to the root
    `target`, once: a machine that has them copies nothing, other processes of it wait. Returns `listing` of them.

    Raises DataError, one line, where the source lacks them or the disk cannot hold them.
    """
    name = data_folder(data)
    if not name:
        return ""
    note = target / f".{name}.listing"
    if note.exists() and (target / name).is_dir():
        return note.read_text()
    try:
        target.mkdir(parents=True, exist_ok=True)
        with _alone(target / f".{name}.lock"):
            if not (note.exists() and (target / name).is_dir()):
                _copy(source, name, target, note)
            return note.read_text()
    except OSError as error:
        raise DataError(f"data set {data.name!r} cannot be copied to {str(target)!r}: {error}") from error


def listing(data: Data, source: str) -> str:
    """SHA-256 over the sorted names and sizes of a data set's files below a root; empty for one that has none.

    Raises DataError where they are not there.
    """
    name = data_folder(data)
    return _listing(_files(source, name)) if name else ""


def _copy(source: str, name: str, target: Path, note: Path) -> None:
    files = _files(source, name)
    needed, free = sum(files.values()), shutil.disk_usage(target).free
    if needed + MARGIN > free:
        raise DataError(f"data set {name!r} takes {size(needed)}, {str(target)!r} has {size(free)} free")
    filesystem, root = _open(source)
    partial = target / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    for folder in {(partial / file).parent for file in files}:  # object stores have none, and Arrow makes only theirs
        folder.mkdir(parents=True, exist_ok=True)
    fs.copy_files(
        f"{root}/{name}", str(partial), source_filesystem=filesystem, destination_filesystem=fs.LocalFileSystem()
    )
    copied = {
        path.relative_to(partial).as_posix(): path.stat().st_size for path in partial.rglob("*") if path.is_file()
    }
    if copied != files:
        raise DataError(f"data set {name!r} changed in {source!r} while it was copied; try again")
    shutil.rmtree(target / name, ignore_errors=True)
    partial.rename(target / name)
    note.write_text(_listing(files))


def _files(source: str, name: str) -> dict[str, int]:
    """Relative name -> bytes."""
    filesystem, root = _open(source)
    base = f"{root}/{name}"
    try:
        found = filesystem.get_file_info(fs.FileSelector(base, recursive=True))
    except OSError as error:
        raise DataError(f"data set {name!r} not found in {source!r}") from error
    files = {os.path.relpath(info.path, base): info.size for info in found if info.is_file}
    if not files:
        raise DataError(f"data set {name!r} in {source!r} has no files")
    return files


def _open(source: str) -> tuple[fs.FileSystem, str]:
    try:
        return open_folder(source)
    except LedgerError as error:
        raise DataError(str(error)) from error


def _listing(files: dict[str, int]) -> str:
    return hashlib.sha256("".join(f"{name}\0{files[name]}\n" for name in sorted(files)).encode()).hexdigest()


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""Files on a local disk or an object store: whole or absent, under a path or the URI of any Arrow filesystem."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from analysis.schema import LedgerError

Folder = str | Path


def write_file(folder: Folder, name: str, data: bytes) -> None:
    """Write `folder`/`name` as a whole or not at all. Raises LedgerError, in one line, where the storage refuses."""
    filesystem, root = open_folder(folder)
    put(filesystem, f"{root}/{name}", data, f"{folder}/{name}")


def read_file(folder: Folder, name: str) -> bytes | None:
    """The bytes of `folder`/`name`, or None where it does not exist."""
    filesystem, root = open_folder(folder)
    data = get(filesystem, f"{root}/{name}")
    return None if data is None else data.to_pybytes()


def list_files(folder: Folder, place: str) -> list[str]:
    """The names of the files in `folder`/`place`, sorted, without temporary ones; empty where that does not exist."""
    filesystem, root = open_folder(folder)
    found = filesystem.get_file_info(fs.FileSelector(f"{root}/{place}", allow_not_found=True))
    return sorted(info.base_name for info in found if info.is_file and not info.base_name.startswith("_"))


def remove_file(folder: Folder, name: str) -> None:
    """Remove `folder`/`name`, which exists."""
    filesystem, root = open_folder(folder)
    filesystem.delete_file(f"{root}/{name}")


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


def _write_local(path: Path, data: bytes) -> None:
    """Temporary name, fsync, rename, fsync of the folder: after a power cut the file is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix="_", suffix=path.suffix, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def put(filesystem: fs.FileSystem, path: str, data: bytes, name: str = "") -> None:
    """Write one file as a whole or not at all; `name` is what an error calls it. Raises LedgerError."""
    try:
        if isinstance(filesystem, fs.LocalFileSystem):
            _write_local(Path(path), data)
        else:
            _put(filesystem, path, data)
    except OSError as error:
        raise LedgerError(f"cannot write {name or path}: {error.strerror or error}") from error


def _put(filesystem: fs.FileSystem, path: str, data: bytes) -> None:
    """One PUT. Object stores know no folders; mounted filesystems want theirs made first."""
    try:
        stream = filesystem.open_output_stream(path)
    except FileNotFoundError:
        filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        stream = filesystem.open_output_stream(path)
    with stream:
        stream.write(data)


def get(filesystem: fs.FileSystem, path: str) -> pa.Buffer | None:
    """The bytes of one file, fetched in one request, or None where it does not exist. Raises LedgerError."""
    try:
        with filesystem.open_input_stream(path) as stream:
            return stream.read_buffer()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror or str(error).splitlines()[0]}") from error

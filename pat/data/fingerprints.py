"""What own files are known by: another set of files has another fingerprint."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from pat.config import Data, DataError
from pat.data.files import file_status


def digest(path: Path, names: Iterable[str], read: Iterable[str] = ()) -> str:
    """SHA-256 over the names, relative to `path`, and sizes of files - cheap - and the bytes of those to `read`."""
    found = hashlib.sha256()
    for name in names:
        found.update(os.fsencode(f"{name}\0{file_status(path / name).st_size}\n"))
    for name in read:
        try:
            found.update((path / name).read_bytes())
        except OSError as error:
            raise DataError(f"file {str(path / name)!r} cannot be read: {error.strerror}") from error
    return found.hexdigest()


def check_fingerprint(what: str, path: Path, found: str, data: Data) -> None:
    """Raises DataError where the files at `path` are not those that `data` was made from."""
    if found != data.fingerprint:
        raise DataError(f"{what} {str(path)!r} has changed: fingerprint {found}, the run has {data.fingerprint}")

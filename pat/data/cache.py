"""What takes long to find out about files, kept in the user's cache folder."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path


def cache_file(name: str) -> Path:
    """Where something is kept under a name that says what it was found from."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pat" / name


def keep(file: Path, content: bytes) -> None:
    """Write such a file, whole or not at all; where the folder cannot be written, it is found out again next time."""
    fresh = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(content)
        fresh.replace(file)
    except OSError:
        with suppress(OSError):
            fresh.unlink()

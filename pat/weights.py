"""Weight files: their identity, what they hold, how they are fetched. Nothing in a file is ever executed."""

from __future__ import annotations

import hashlib
import http.client
import pickle
import shutil
import sys
import urllib.request
import uuid
import warnings
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from pat import unpickle
from pat.config import ConfigError, DataError, StorageError
from pat.state_dicts import WRAPPERS, choose

SCHEMES = ("https://", "http://", "file://")
_REFUSALS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
"""What is wrong with a file or its name. Other errors are of the machine or its storage, and are raised as they are."""
TIMEOUT = 60.0
"""Seconds without a single byte after which a download is given up."""


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file. Raises DataError if it cannot be read, OSError where the storage fails."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except _REFUSALS as error:
        raise DataError(f"weights file {str(path)!r} cannot be read: {error.strerror}") from error


def is_url(place: str) -> bool:
    """Whether `place` is an address rather than a path."""
    return "://" in place


def read_weights(path: Path, own: Collection[str] = ()) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU: safetensors or torch's format, told apart by their first bytes.

    Of several in it that one is taken which fits the names `own` of a model's weights best (`state_dicts.choose`), and
    stderr says which where that is not plain. What a training script keeps beside is passed over, and never executed.
    Raises ConfigError, one line naming the file, for whatever holds no state dict or weights that are no numbers.
    """
    what = f"weights file {str(path)!r}"
    start = _start(path)
    if kind := _kind(start):
        raise DataError(f"{what} holds no weights: it is {kind}")
    try:
        content = safetensors.torch.load_file(path) if start[8:9] == b"{" else _read_torch(path)
    except pickle.UnpicklingError as error:
        raise DataError(f"{what} holds no readable weights: it is of no format that torch knows") from error
    except Exception as error:  # truncated or foreign: the readers raise many kinds
        if "TorchScript" in str(error):
            raise DataError(
                f"{what} holds no weights: it is a TorchScript program; needed is a file of model.state_dict()"
            ) from error
        raise DataError(f"{what} holds no readable weights: {_line(error)}") from error
    held = choose(content, own)
    if held is None:
        raise ConfigError(f"{what} {_instead(content)}")
    for key, value in held.tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise DataError(f"{what} holds weights that are no numbers: {key} has nan or inf")
    if held.prefix or held.passed or "." in held.place:
        _say(f"{what}: {held.told()}")
    return held.tensors


@lru_cache(maxsize=64)
def _say(line: str) -> None:
    """Once a process: a study reads the same file again and again."""
    print(line, file=sys.stderr)


def download(url: str, target: Path, expected: str) -> None:
    """Fetches a URL into the file `target`, which appears whole and with the SHA-256 `expected`, or not at all.

    Raises ConfigError, one line naming the URL, where it cannot be fetched or holds other bytes.
    """
    partial = target.with_name(f"_{uuid.uuid4().hex}_{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = partial.open("wb")
    except OSError as error:
        raise StorageError(f"storage {str(target.parent)!r} cannot be written: {error.strerror}") from error
    try:
        with file, urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            shutil.copyfileobj(answer, file)
            length = answer.headers["Content-Length"]
        size = partial.stat().st_size
        if length is not None and size != int(length):
            raise ConfigError(f"weights {url!r} cannot be fetched: the connection ended after {size} of {length} bytes")
        if (found := sha256(partial)) != expected:
            raise ConfigError(f"weights {url!r} have SHA-256 {found}, but {expected} is expected")
        partial.replace(target)
    except ConfigError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: an address that is none
        reason = _line(error).removeprefix("<urlopen error ").removesuffix(">")
        raise ConfigError(f"weights {url!r} cannot be fetched: {reason}") from error
    finally:
        partial.unlink(missing_ok=True)


_KINDS = (
    (b"version https://git-lfs", "a pointer of git lfs, which `git lfs pull` replaces by the file"),
    (b"<", "a web page or XML: the address of the file itself is needed"),
    (b"\x1f\x8b", "an archive (gzip): unpack it first"),
    (b"BZh", "an archive (bzip2): unpack it first"),
    (b"\xfd7zXZ", "an archive (xz): unpack it first"),
    (b"7z\xbc\xaf", "an archive (7z): unpack it first"),
    (b"Rar!", "an archive (rar): unpack it first"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it: weights of torch are needed"),
    (b"\x93NUMPY", "a NumPy array: a state dict of torch is needed"),
    (b"{", "JSON, perhaps the index of a file in several parts: the file of weights itself is needed"),
)


def _kind(start: bytes) -> str:
    """What a file is by its first bytes, if that cannot hold weights."""
    text = start.lstrip().lower() if start[:1] in b" \t\r\n\xef" else start
    return next((words for begin, words in _KINDS if text.startswith(begin)), "")


def _start(path: Path) -> bytes:
    """The first bytes of a file: in safetensors the length of the header and its opening brace."""
    try:
        with path.open("rb") as file:
            start = file.read(32)
    except _REFUSALS as error:
        raise DataError(f"weights file {str(path)!r} cannot be read: {error.strerror}") from error
    if not start:
        raise DataError(f"weights file {str(path)!r} holds no readable weights: it is empty")
    return start


def _read_torch(path: Path) -> Any:
    """Tensors and plain values; objects of other classes as inert stand-ins."""
    try:
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" not in str(error) and "Unsupported" not in str(error):
            raise
    with path.open("rb") as file:
        return torch.load(file, map_location="cpu", weights_only=False, pickle_module=unpickle)


def _instead(content: Any) -> str:
    """What a file holds that has no state dict."""
    if not isinstance(content, Mapping):
        return f"holds a {type(content).__name__}, a state dict is needed"
    held = ", ".join(str(key) for key in list(content)[:6]) or "nothing"
    return f"holds {held}; a state dict is needed, alone or under a name as {', '.join(WRAPPERS)}"


def _line(error: BaseException) -> str:
    """The first sentence of an error's message, or its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0]

"""Weight files: their identity, what they hold, how they are fetched. Nothing in a file is ever executed."""

from __future__ import annotations

import argparse
import hashlib
import http.client
import pickle
import re
import shutil
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from timm.models import clean_state_dict
from torch import Tensor

from pat.config import ConfigError, DataError, StorageError

AVERAGED = ("state_dict_ema", "model_ema")
WRAPPERS = (*AVERAGED, "state_dict", "model", "model_state_dict", "net")
"""The names under which training scripts keep a state dict, the first one found is taken: averaged weights (EMA)
before raw ones, which is also timm's choice and that of the students exported here."""

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


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU: safetensors or torch's format, told apart by their first bytes.

    It may stand under one of `WRAPPERS`; the prefixes of DistributedDataParallel and torch.compile are taken off.
    Raises ConfigError, one line naming the file, for whatever holds no state dict or would run code to be read.
    """
    what = f"weights file {str(path)!r}"
    start = _start(path)
    try:
        content = safetensors.torch.load_file(path) if start[8:] == b"{" else _read_torch(path)
    except pickle.UnpicklingError as error:
        if refused := re.search(r"GLOBAL (\S+)", str(error)):
            raise ConfigError(
                f"{what} holds more than weights: reading it would run {refused[1]}; "
                "a file of model.state_dict() alone is needed"
            ) from error
        raise DataError(f"{what} holds no readable weights: it is of no format that torch knows") from error
    except Exception as error:  # truncated or foreign: the readers raise many kinds
        raise DataError(f"{what} holds no readable weights: {_line(error)}") from error
    return clean_state_dict(_state_dict(content, what))


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


def _start(path: Path) -> bytes:
    """The first nine bytes of a file: in safetensors the length of the header and its opening brace."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except _REFUSALS as error:
        raise DataError(f"weights file {str(path)!r} cannot be read: {error.strerror}") from error
    if not start:
        raise DataError(f"weights file {str(path)!r} holds no readable weights: it is empty")
    return start


def _read_torch(path: Path) -> Any:
    """Tensors and plain values alone; the options of a training script (`argparse.Namespace`) are plain values."""
    with path.open("rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(file, map_location="cpu", weights_only=True)


def _state_dict(content: Any, what: str) -> dict[str, Tensor]:
    """The state dict in what a file held."""
    while isinstance(content, Mapping):
        wrapped = next((content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if wrapped is None:
            break
        content = wrapped
    if not isinstance(content, Mapping):
        raise ConfigError(f"{what} holds a {type(content).__name__}, a state dict is needed")
    foreign = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if foreign or not content:
        held = ", ".join(foreign[:6]) or "nothing"
        raise ConfigError(f"{what} holds {held}; a state dict is needed, alone or under one of {', '.join(WRAPPERS)}")
    return dict(content)


def _line(error: BaseException) -> str:
    """The first sentence of an error's message, or its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0]

"""What is raised for input that cannot be used: one line naming the field or file, its value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A setting that cannot be used; the message is one line naming field, value and what is allowed."""


class DataError(ConfigError):
    """A file that a run needs - an image, a data set, a teacher's weights - is missing or damaged. It is named."""


class StorageError(ConfigError):
    """What a run has found cannot be kept: the disk is full, or the folder cannot be written."""


def unknown(what: str, name: str, valid: Iterable[str], of: str = "") -> ConfigError:
    """The error for a name that does not exist, with the nearest names that do."""
    options = sorted(valid)
    near = difflib.get_close_matches(name, options, n=3, cutoff=0.5)
    known = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(options[:12]) or 'none'}"
    return ConfigError(f"unknown {what} {name!r}{of}; {known}")


def check_choice(name: str, value: object, allowed: Iterable[str]) -> None:
    """Raises ConfigError for an option that is none of those words."""
    if value not in (words := list(allowed)):
        raise ConfigError(f"{name} = {value!r}: one of {', '.join(words)}")

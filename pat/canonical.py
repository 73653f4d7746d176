"""The canonical form of what describes a run or a study: dictionaries of plain values, and back.

Standard library only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from functools import cache
from typing import Any, ClassVar, Self, get_type_hints

from pat.errors import unknown
from pat.options import plain
from pat.values import typed


def later(default: Any = dataclasses.MISSING, *, default_factory: Any = dataclasses.MISSING) -> Any:
    """A field of a part that joined after runs had been addressed.

    At its default it is left out of the canonical form: there it says what was so before, and run_ids stay.
    """
    return field(default=default, default_factory=default_factory, metadata={_LATER: True})


_LATER = "later"


class Part:
    """Shared by whatever describes a run or a study: canonical dictionary out, checked dictionary in.

    Fields that every release has had are always written, those made by `later` only where they are not at their
    default; inside of mappings and sequences, too. Every field is of its declared type (`pat.values`).
    """

    label: ClassVar[str] = ""
    """What an error calls the part, before a field's name."""

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():  # type: ignore[arg-type]
            value = getattr(self, name)
            found = typed(f"{self.label}.{name}" if self.label else name, value, hint)
            if found is not value:
                object.__setattr__(self, name, found)

    def to_dict(self) -> dict[str, Any]:
        values = {f.name: (f, getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {name: _written(value) for name, (f, value) in values.items() if not _at_rest(f, value)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Raises ConfigError for a key that is not a field."""
        names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
        for key in values:
            if key not in names:
                raise unknown("key", key, names, of=f" of {cls.__name__}")
        hints = _hints(cls)  # type: ignore[arg-type]
        return cls(**{key: _read(hints[key], value) for key, value in values.items()})


@cache
def _hints(cls: Any) -> dict[str, Any]:
    """The types of a part's fields."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _at_rest(f: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a field joined later and says nothing yet."""
    if _LATER not in f.metadata:
        return False
    default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
    return bool(value == default)


def _written(value: Any) -> Any:
    if isinstance(value, Part):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _written(item) for key, item in value.items()}
    return tuple(_written(item) for item in value) if isinstance(value, list | tuple) else value


def _read(hint: Any, value: Any) -> Any:
    """One field from its JSON form: nested parts are read by their own class."""
    for candidate in (hint, *getattr(hint, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, Part) and isinstance(value, Mapping):
            return candidate.from_dict(value)
    return plain(value)

"""Values by their declared types: a setting is of its kind, finite and of a size that can be written, or refused.

Standard library only.
"""

from __future__ import annotations

import math
import numbers
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from pat.errors import ConfigError

LARGEST = 2**53
"""Whole numbers above are not exact in JSON readers, and torch's are not much larger."""
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", types.NoneType: "none"}


def typed(name: str, value: Any, hint: Any) -> Any:
    """`value` as a field of type `hint` keeps it: lists are tuples, NumPy's numbers are Python's.

    Raises ConfigError naming the field for another type, for nan and infinity, and for numbers beyond LARGEST.
    """
    found = _read(value, hint)
    if found is _NO:
        raise ConfigError(f"{name} = {_shown(value)}: {_wanted(hint)} is needed")
    return found


_NO = object()


def _read(value: Any, hint: Any) -> Any:
    """The value, or _NO where it is none of the type."""
    origin, inside = get_origin(hint), get_args(hint)
    if hint is Any or (hint is Mapping and isinstance(value, Mapping)):
        return value
    if origin in (Union, types.UnionType):
        return next((found for one in inside if (found := _read(value, one)) is not _NO), _NO)
    if origin is tuple:
        return _tuple(value, inside)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(value, *inside)
    if hint is bool or isinstance(value, bool):
        return value if hint is bool and isinstance(value, bool) else _NO
    if hint is int:
        return int(value) if isinstance(value, numbers.Integral) and abs(int(value)) <= LARGEST else _NO
    if hint is float:
        return _number(value)
    return value if isinstance(hint, type) and isinstance(value, hint) else _NO


def _number(value: Any) -> Any:
    if isinstance(value, numbers.Integral):
        return float(value) if abs(int(value)) <= LARGEST else _NO
    return float(value) if isinstance(value, numbers.Real) and math.isfinite(float(value)) else _NO


def _tuple(value: Any, inside: tuple[Any, ...]) -> Any:
    if not isinstance(value, list | tuple):
        return _NO
    kinds = inside[:1] * len(value) if inside[1:] == (...,) else inside
    found = tuple(_read(item, kind) for item, kind in zip(value, kinds, strict=False))
    return _NO if len(value) != len(kinds) or any(item is _NO for item in found) else found


def _mapping(value: Any, key: Any, item: Any) -> Any:
    if not isinstance(value, Mapping):
        return _NO
    found = {_read(k, key): _read(v, item) for k, v in value.items()}
    return _NO if _NO in found or any(v is _NO for v in found.values()) else found


def _wanted(hint: Any) -> str:
    """A type in words."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_wanted(one) for one in inside)
    if origin is tuple and inside[1:] == (...,):
        return f"a sequence, each {_wanted(inside[0])},"
    if origin is tuple:
        return f"{len(inside)} values ({', '.join(map(_wanted, inside))})"
    if origin is not None and issubclass(origin, Mapping):
        return f"a mapping from {_wanted(inside[0])} to {_wanted(inside[1])}"
    return _KINDS.get(hint, "any value" if hint is Any else f"a {getattr(hint, '__name__', hint)}")


def _shown(value: Any) -> str:
    """A value in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."

"""What has been made of a part of a data set, kept for as long as the part itself."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
_kept: dict[int, tuple[weakref.ref[Any], dict[Hashable, Any]]] = {}


def beside(part: object, key: Hashable, make: Callable[[], T]) -> T:
    """What `make` makes, the first time that it is asked for of this very object by this key.

    Parts cannot be keys themselves: they are equal where their tensors are, which nobody wants to compare.
    """
    own = _kept.get(id(part))
    if own is None or own[0]() is not part:
        own = _kept[id(part)] = weakref.ref(part, _forgetter(id(part))), {}
    if key not in own[1]:
        own[1][key] = make()
    found: T = own[1][key]
    return found


def _forgetter(number: int) -> Callable[[weakref.ref[Any]], None]:
    def forget(gone: weakref.ref[Any]) -> None:
        if number in _kept and _kept[number][0] is gone:
            del _kept[number]

    return forget

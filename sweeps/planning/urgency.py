"""Which segment goes first. Only the order in which work is done depends on this, never what is done."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)


class Urgency(NamedTuple):
    """Smaller goes first: rank 0 are those whom most others wait for; then the longest work; then the study's order."""

    rank: int
    minus_seconds: float
    order: int


class Queue(Generic[T]):
    """Items by urgency. An item stands in it once, however often it is put."""

    def __init__(self) -> None:
        self._line: list[tuple[Urgency, T]] = []
        self._places: dict[T, Urgency] = {}

    def put(self, item: T, urgency: Urgency | None) -> None:
        """Give the item its place, or take it out (None). The order in the study makes all urgencies different."""
        old = self._places.pop(item, None)
        if old is not None:
            del self._line[bisect_left(self._line, (old,))]
        if urgency is not None:
            self._places[item] = urgency
            insort(self._line, (urgency, item))

    def first(self) -> tuple[Urgency, T] | None:
        """The most urgent item, which stays."""
        return self._line[0] if self._line else None

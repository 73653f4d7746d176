"""Runs abreast: each waits at the place in its training that it has come to, and who waits for one batch gets it at
once, made once."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pat.views import Views


@dataclass(frozen=True)
class Wanted:
    """Batch number `step` of an epoch, which is the epoch's `last` or not, of the views of that name.

    `views` makes those from this batch on.
    """

    name: Hashable
    epoch: int
    step: int
    last: bool
    views: Callable[[], Iterator[Views]] = field(compare=False)


@dataclass(frozen=True)
class Batch:
    """The views of a step, and the seconds that they took, shared among those that get them."""

    views: Views
    seconds: float


E = TypeVar("E")
K = TypeVar("K")
Walk = Generator[Wanted, Batch, E]
"""A run on its way: it says which batch it wants next, is sent it, and returns how it ended."""


def lockstep(walks: Mapping[K, Walk[E]], after_batch: Callable[[], object]) -> Iterator[tuple[K, E | Exception]]:
    """Every run to its end; by name, as each ends, what it returned or raised.

    Those that are furthest back go on first, so all that can be at one place are there together. Who is first of them
    changes from batch to batch: what the first does for all takes each one's time in turn. `after_batch` is called
    when all have had one. An error of the views is raised in each run that waits for them.
    """
    waiting: dict[K, Wanted] = {}
    streams: dict[Hashable, _Stream] = {}
    for name, walk in walks.items():
        yield from _go_on(name, walk, None, waiting)
    while waiting:
        first = min(waiting.values(), key=lambda wanted: (wanted.epoch, wanted.step))
        abreast = [name for name, wanted in waiting.items() if wanted == first]
        start = time.perf_counter()
        given: Batch | Exception
        try:
            stream = streams.setdefault(first.name, _Stream())
            given = Batch(stream.take(first), (time.perf_counter() - start) / len(abreast))
        except Exception as error:
            given = error
        turn = first.step % len(abreast)
        for name in abreast[turn:] + abreast[:turn]:
            yield from _go_on(name, walks[name], given, waiting)
        del given
        after_batch()


def _go_on(
    name: K, walk: Walk[E], given: Batch | Exception | None, waiting: dict[K, Wanted]
) -> Iterator[tuple[K, E | Exception]]:
    """One run up to the next batch that it waits for, or to its end."""
    waiting.pop(name, None)
    try:
        if isinstance(given, Exception):
            waiting[name] = walk.throw(given)
        else:
            waiting[name] = next(walk) if given is None else walk.send(given)
        return
    except StopIteration as end:
        found: Any = end.value
    except Exception as error:
        found = error
    yield name, found


class _Stream:
    """The views of one name, read on from where they are, or from elsewhere."""

    def __init__(self) -> None:
        self._next: tuple[int, int] | None = None
        self._views: Iterator[Views] = iter(())

    def take(self, wanted: Wanted) -> Views:
        if self._next != (wanted.epoch, wanted.step):
            self._views = wanted.views()
        self._next = None
        views = next(self._views)
        if wanted.last:
            self._views = iter(())  # what decodes images ends
        else:
            self._next = wanted.epoch, wanted.step + 1
        return views

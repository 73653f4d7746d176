"""What is said while a command works: that it goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sweeps.engine.repeat import repeating

EVERY = 3.0
"""Seconds between two lines."""


def tell(line: str) -> None:
    """One line, at once, also into a pipe."""
    print(line, flush=True)


def whisper(line: str) -> None:
    """Say it beside the output of a command."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def still(what: str, say: Callable[[str], None] = whisper, every: float = EVERY) -> Iterator[None]:
    """While the block lasts, a line every few seconds: `what` goes on, and for how long it has."""
    start = time.monotonic()
    with repeating(lambda: say(f"{what}: {time.monotonic() - start:.0f} s so far"), every):
        yield

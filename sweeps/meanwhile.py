"""What is said while a command works: that it goes on, or how much of it is done."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
EVERY = 3.0
"""Seconds between two lines, so that with what one of many things takes nobody waits five for a word."""


def whisper(line: str) -> None:
    """Say it beside the output of a command."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def still(what: str, say: Callable[[str], None] = whisper, every: float = EVERY) -> Iterator[None]:
    """While the block lasts, a line every few seconds: `what` goes on, and for how long it has."""
    over, start = threading.Event(), time.monotonic()

    def tell() -> None:
        while not over.wait(every):
            say(f"{what}: {time.monotonic() - start:.0f} s so far")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def one_by_one(things: Sequence[T], what: str, say: Callable[[str], None], every: float = EVERY) -> Iterator[T]:
    """The things one after the other; every few seconds a line how many of them are done."""
    last = time.monotonic()
    for done, thing in enumerate(things):
        if time.monotonic() - last >= every:
            last = time.monotonic()
            say(f"{what}: {done} of {len(things)} so far")
        yield thing

"""Something done every so many seconds beside the work of a block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(step: Callable[[], object], every: float) -> Iterator[None]:
    """Calls `step` in a thread every so many seconds for the time of the block; it does not outlast the block."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(every):
            step()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()

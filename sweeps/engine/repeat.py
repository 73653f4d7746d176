"""Something done every so many seconds beside the work of a block."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(step: Callable[[], object], every: float) -> Iterator[None]:
    """Calls `step` in a thread every so many seconds for the time of the block; it does not outlast the block.

    An error of `step` is said once on stderr; the next call comes all the same.
    """
    stop = threading.Event()

    def repeat() -> None:
        said = ""
        while not stop.wait(every):
            try:
                step()
            except Exception as error:  # nobody waits for this thread, and the work of the block is not its
                line = f"warning: {type(error).__name__}: {error}"
                if line != said:
                    print(line, file=sys.stderr, flush=True)
                said = line

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()

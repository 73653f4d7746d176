"""Lines that stay at the bottom of a terminal while others scroll above them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import TextIO

_UP, _REST = "\033[{}A", "\r\033[J"


def is_terminal(stream: TextIO) -> bool:
    """Whether lines on it can be drawn anew."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def fitted(text: str, columns: int) -> str:
    """A line that is not longer than the terminal is wide."""
    return text if len(text) <= columns else f"{text[: max(0, columns - 3)]}..."[:columns]


class Region:
    """The last lines of a terminal. Each is cut to its width, and there are no more than it has lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._drawn = 0

    def show(self, lines: Sequence[str]) -> None:
        """These, in place of what was shown."""
        self._lines = list(lines)
        self._write("")

    def say(self, line: str) -> None:
        """A line above them, which scrolls away like any other."""
        self._write(f"{line}\n")

    def close(self) -> None:
        """Nothing more: what is printed next comes where they were."""
        self.show(())

    def _write(self, above: str) -> None:
        size = shutil.get_terminal_size()
        shown = [fitted(line, size.columns - 1) for line in self._lines[: max(1, size.lines - 1)]]
        up = _UP.format(self._drawn) if self._drawn else ""
        self._stream.write(f"{up}{_REST}{above}" + "".join(f"{line}\n" for line in shown))
        self._stream.flush()
        self._drawn = len(shown)

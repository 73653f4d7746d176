"""Words and plain tables for people. Imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_LISTED = 4
_WORD = re.compile("[A-Za-z]{2}")


def duration(seconds: float) -> str:
    """A time span as a person says it: 48 s, 12 min, 3 h 05 min, 4 d 7 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def counted(number: int, noun: str, plural: str = "") -> str:
    """So many of them in words: 1 run, 12,000 runs, 2 classes."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def few(names: Iterable[str]) -> str:
    """The first few of the different names."""
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - _LISTED} more" if len(different) > _LISTED else ""
    return "; ".join(different[:_LISTED]) + more


def markdown(frame: pd.DataFrame) -> str:
    """A frame of text as a Markdown table with aligned columns: words to the left, numbers to the right. What would end
    a cell or a line is made harmless."""
    lines: list[list[str]] = [[] for _ in range(len(frame) + 2)]
    for name in frame:
        texts = [text.replace("|", "\\|").replace("\n", " ") for text in (str(name), *frame[name].astype(str))]
        width = max(3, *map(len, texts))
        words = any(_WORD.search(text) for text in texts[1:])
        rule = "-" * (width - 1) + ("-" if words else ":")
        padded = [text.ljust(width) if words else text.rjust(width) for text in texts]
        for line, cell in zip(lines, [padded[0], rule, *padded[1:]], strict=True):
            line.append(cell)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

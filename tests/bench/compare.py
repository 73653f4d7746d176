"""Ratios found now beside the recorded ones: which of them fail, and how that reads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_DIGITS = 6

HOLDS, BETTER = "holds", "better: record it"
WORSE, CHANGED, NEW, GONE = "WORSE", "CHANGED", "NEW", "GONE"


@dataclass(frozen=True)
class Tolerance:
    """How far the ratios of a part may lie from the recorded ones, as a share of these.

    A cost fails only where it rose; where it fell as far, it is to be recorded, else the next rise goes unseen. What
    was counted or simulated is the same on every machine, so that an `exact` ratio fails either way.
    """

    share: float
    exact: bool = False


EXACT = Tolerance(10 ** (1 - _DIGITS), exact=True)
"""As many digits as the file keeps."""


@dataclass(frozen=True)
class Line:
    """A ratio by its full name, `part/name`; None where there is none."""

    name: str
    now: float | None
    recorded: float | None
    verdict: str

    @property
    def fails(self) -> bool:
        return self.verdict not in (HOLDS, BETTER)

    def __str__(self) -> str:
        now, recorded = ("" if value is None else f"{value:.5g}" for value in (self.now, self.recorded))
        change = f"{self.now / self.recorded - 1:+.2%}" if self.now is not None and self.recorded else ""
        return f"{now:>9} {recorded:>9} {change:>9}   {self.verdict}"


def compare(found: Mapping[str, float], recorded: Mapping[str, float], tolerance: Tolerance) -> list[Line]:
    """A line for each name of either, those found first."""
    lines = [Line(name, now, was := recorded.get(name), _verdict(now, was, tolerance)) for name, now in found.items()]
    return lines + [Line(name, None, was, GONE) for name, was in recorded.items() if name not in found]


def _verdict(now: float, recorded: float | None, tolerance: Tolerance) -> str:
    """NaN is never within a tolerance."""
    if recorded is None:
        return NEW
    if tolerance.exact:
        return HOLDS if math.isclose(now, recorded, rel_tol=tolerance.share, abs_tol=tolerance.share) else CHANGED
    if not now <= recorded * (1 + tolerance.share):
        return WORSE
    return BETTER if now < recorded / (1 + tolerance.share) else HOLDS


def table(lines: Sequence[Line]) -> str:
    """What was compared, a ratio a row."""
    width = max((len(line.name) for line in lines), default=0)
    head = f"{'':{width}} {'now':>9} {'recorded':>9} {'change':>9}   verdict"
    return "\n".join([head, *(f"{line.name:{width}} {line}" for line in lines)])


def of_parts(ratios: Mapping[str, float], parts: Iterable[str]) -> dict[str, float]:
    """Those whose names begin with one of the parts."""
    return {name: value for name, value in ratios.items() if name.partition("/")[0] in parts}


def read(file: Path) -> dict[str, float]:
    return json.loads(file.read_text()) if file.exists() else {}


def record(found: Mapping[str, float], parts: Sequence[str], file: Path) -> None:
    """Puts what was found in the place of all that is recorded of these parts; other parts stay as they are."""
    old = read(file)
    kept = {name: value for name, value in old.items() if name not in of_parts(old, parts)}
    new = kept | {name: float(f"{value:.{_DIGITS}g}") for name, value in found.items()}
    file.write_text(json.dumps(new, indent=2, allow_nan=False) + "\n")

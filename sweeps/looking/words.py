"""Quantities as a person reads them."""

from __future__ import annotations

UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def number(value: float) -> str:
    """Two or three figures: 1,234; 56; 7.8; 0.12; 0.0034."""
    if value >= 20 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def size(count: int) -> str:
    """Bytes with the unit in which they read best: 950 B, 1.2 GB, 180 GB."""
    value, place = float(count), 0
    while value >= 999.5 and place < len(UNITS) - 1:
        value, place = value / 1000, place + 1
    return f"{value:.1f} {UNITS[place]}" if value < 9.95 and place else f"{value:.0f} {UNITS[place]}"


def span(low: float, high: float) -> str:
    """A range of seconds in one unit: 4.2 to 4.9 days."""
    scale, name = next(((s, n) for s, n in _SPANS if high >= 2 * s), (1.0, "s"))
    texts = list(dict.fromkeys(number(seconds / scale) for seconds in (low, high)))
    return f"{' to '.join(texts)} {name}"


_SPANS = ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min"))

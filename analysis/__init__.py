"""What a study found: its ledger as tidy frames, paired gains with intervals, figures and a report.

Opens on a laptop: needs neither torch nor Ray. What needs pandas is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.schema import LedgerError

if TYPE_CHECKING:
    from analysis.ledger import read_epochs, read_matrix, read_runs

__all__ = ["LedgerError", "read_epochs", "read_matrix", "read_runs"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from analysis import ledger

    found = globals()[name] = getattr(ledger, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

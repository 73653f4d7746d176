"""What all commands have in common beside `analysis.guard`: the errors of a study and their exit codes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from analysis import guard
from analysis.guard import Parser
from pat.config import ConfigError
from pat.sockets import room_for_sockets
from sweeps.engine.endings import Fatal, Paused, Unasked

__all__ = ["UNASKED", "Parser", "guarded", "interrupt", "on_signal"]

UNASKED = 4
"""The exit code of a dear study where nobody could be asked; who handed it over may ask instead."""


def guarded(command: Callable[[], int], verbose: bool) -> int:
    """Run a command; whatever goes wrong becomes one line on stderr and an exit code."""
    on_signal(signal.SIGTERM, interrupt)

    def start() -> int:
        room_for_sockets()
        return command()

    return guard.guarded(start, _refusal, verbose)


def _refusal(error: Exception) -> tuple[int, str] | None:
    if isinstance(error, ConfigError | Fatal):
        return 2, f"error: {error}"
    if isinstance(error, Paused):
        return 3, f"paused: {error}"
    return (UNASKED, f"error: {error}") if isinstance(error, Unasked) else guard.ledger_error(error)


def on_signal(number: int, handler: Callable[[int, Any], Any]) -> None:
    """Answer a signal, where this thread may: Python lets the main one alone."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(number, handler)


def interrupt(number: int, frame: Any) -> NoReturn:
    """What SIGTERM does: the same as Ctrl-C."""
    raise KeyboardInterrupt

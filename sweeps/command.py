"""What all commands have in common: whatever goes wrong ends in one line and an exit code."""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from pat.config import ConfigError
from sweeps.engine.endings import Fatal, Paused, Unasked

UNASKED = 4
"""The exit code of a dear study where nobody could be asked; who handed it over may ask instead."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see {self.prog} --help)")


def guarded(command: Callable[[], int], verbose: bool) -> int:
    """Run a command; whatever goes wrong becomes one line on stderr and an exit code."""
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return command()
    except (ConfigError, Fatal) as error:
        code, line = 2, f"error: {error}"
    except Paused as pause:
        code, line = 3, f"paused: {pause}"
    except Unasked as refusal:
        code, line = UNASKED, f"error: {refusal}"
    except KeyboardInterrupt:
        code, line = 130, "stopped; nothing finished is lost, the same command goes on from here"
    except Exception as error:
        from analysis.schema import LedgerError  # which takes half a second, and whoever raises it has imported it

        code, line = 2, f"error: {error}"
        if not isinstance(error, LedgerError):
            code, line = (
                1,
                f"internal error: {type(error).__name__}: {str(error).splitlines()[:1]}; --verbose shows where",
            )
    if verbose and code != 130:
        traceback.print_exc()
    print(line, file=sys.stderr)
    return code


def interrupt(number: int, frame: Any) -> NoReturn:
    """What SIGTERM does: the same as Ctrl-C."""
    raise KeyboardInterrupt

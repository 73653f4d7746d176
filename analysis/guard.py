"""What all commands have in common: whatever goes wrong ends in one line and an exit code, and printing never fails."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

from analysis.schema import LedgerError

PROJECT = "pat-sweeps"


class UsageError(ValueError):
    """A command line that says nothing that can be done."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, knows `--version`, and is named by the console script that called it, if one did.
    Flags are never abbreviated: an abbreviation would change its meaning one day."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        called = os.path.basename(sys.argv[0])
        named = {"prog": called} if called.startswith("pat-") else {}
        super().__init__(*args, **{"allow_abbrev": False, **kwargs, **named})
        self.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


class _Version(argparse.Action):
    """Looks for the version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(version_line())
        parser.exit()


def version_line() -> str:
    """Name and version of the installed project; of a copy that was never installed, the name alone."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{PROJECT} {version(PROJECT)}"
    except PackageNotFoundError:
        return f"{PROJECT} (not installed)"


Refusal = Callable[[Exception], tuple[int, str] | None]
"""What an error means: the exit code and the line, or None for one that is a bug."""


def guarded(command: Callable[[], int], refusal: Refusal, verbose: bool = False) -> int:
    """Run a command; whatever goes wrong becomes one line on stderr and an exit code, `verbose` shows where."""
    with bearing_output():
        try:
            return command()
        except UsageError as error:
            code, line = 2, f"error: {error}"
        except KeyboardInterrupt:
            code, line = 130, "stopped; nothing finished is lost, the same command goes on from here"
        except Exception as error:
            what = (str(error).strip().splitlines() or ["no message"])[0]
            code, line = refusal(error) or (1, f"internal error: {type(error).__name__}: {what}; --verbose shows where")
        if verbose and code != 130:
            traceback.print_exc()
        print(line, file=sys.stderr)
        return code


def ledger_error(error: Exception) -> tuple[int, str] | None:
    """The refusal of a command that only reads a ledger."""
    return (2, f"error: {error}") if isinstance(error, LedgerError) else None


@contextmanager
def bearing_output() -> Iterator[None]:
    """For a time, stdout and stderr take everything: a character that the terminal lacks is shown as `?`, and what a
    closed pipe does not take any more is dropped."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream and _Bearing(stream) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream:
                stream.flush()
        sys.stdout, sys.stderr = before


class _Bearing:
    """A stream whose `write` and `flush` do not fail; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            return self._stream.write(text.encode(encoding, "replace").decode(encoding))
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        """From now on the stream's file is the null device: else Python would fail once more when it ends."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)

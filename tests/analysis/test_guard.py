"""Whatever a command meets ends in one line and an exit code, and printing never fails."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from analysis.guard import Parser, guarded, ledger_error
from analysis.schema import LedgerError

ENTRIES = ["pat", "analysis", "sweeps", *(f"sweeps {name}" for name in ("train", "status", "stop", "pull", "export"))]


def raising(error: BaseException) -> int:
    def command() -> int:
        raise error

    return guarded(command, ledger_error)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (LedgerError("file 'x'"), 2, "error: file 'x'\n"),
        (KeyboardInterrupt(), 130, "stopped; nothing finished is lost, the same command goes on from here\n"),
        (OSError("one\ntwo"), 1, "internal error: OSError: one; --verbose shows where\n"),
        (AssertionError(), 1, "internal error: AssertionError: no message; --verbose shows where\n"),
    ],
)
def test_errors_are_one_line(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(error) == code and capsys.readouterr().err == line


def test_a_wrong_flag_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="x")
    parser.add_argument("--number", type=int)
    assert guarded(lambda: parser.parse_args(["--numb", "3"]).number, ledger_error) == 2
    assert capsys.readouterr().err == "error: unrecognized arguments: --numb 3 (see x --help)\n"


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-15"])
def test_a_terminal_without_the_characters(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    assert guarded(lambda: print("0.5 – 1.5 → ü") or 0, ledger_error) == 0
    assert raw.getvalue().decode(encoding) == {"ascii": "0.5 ? 1.5 ? ?\n", "iso8859-15": "0.5 ? 1.5 ? ü\n"}[encoding]


def test_a_pipe_that_closes() -> None:
    """The command goes on to its end, and Python itself has nothing to add."""
    code = "import sys; from analysis.guard import guarded\ndef f():\n for i in range(9**5): print(i)\n return 3\n"
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", f"{code}sys.exit(guarded(f, lambda e: None))"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (3, b"")


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_command_refuses_a_wrong_flag_alike(entry: str) -> None:
    command = [sys.executable, "-m", *entry.split(), "--no-such-flag"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr

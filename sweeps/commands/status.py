"""`python -m sweeps status DIR`: how far a study is, from any machine that sees its folder."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from analysis.guard import Parser, guarded, ledger_error
from sweeps.looking.picture import Reader
from sweeps.looking.status_facts import status_facts
from sweeps.looking.status_text import brief, status_text

_HOME, _REST, _HIDE, _SHOW = "\033[H", "\033[J", "\033[?25l", "\033[?25h"


def watch(reader: Reader, every: float, price: float | None, stream: TextIO, as_json: bool = False) -> None:
    """Look every so many seconds until the driver ends: on a terminal in place, else, or `as_json`, one line each
    time."""
    terminal = stream.isatty() and not as_json
    try:
        while True:
            picture = reader.look()
            if terminal:
                size = shutil.get_terminal_size()
                lines = status_text(picture, price).split("\n")
                shown = [line[: size.columns - 1] for line in lines[: size.lines - 1]]
                stream.write(_HIDE + _HOME + "".join(f"{line}\033[K\n" for line in shown) + _REST)
            else:
                line = json.dumps(status_facts(picture, price)) if as_json else brief(picture, price)
                stream.write(line + "\n")
            stream.flush()
            if picture.driver is not None and picture.driver.ended:
                return
            time.sleep(every)
    finally:
        if terminal:
            stream.write(_SHOW)
            stream.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """The command; exit code 0, or 2 after one line on stderr where the folder cannot be used."""
    return guarded(lambda: _status(_parser().parse_args(argv)), ledger_error)


def _parser() -> Parser:
    parser = Parser(prog="python -m sweeps status", description=__doc__)
    parser.add_argument("folder", metavar="DIR", help="the study's folder; also the URI of an object store")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="look again and again, until the study ends")
    parser.add_argument(
        "--json", action="store_true", help="as JSON, for other programs; with --watch a line each time"
    )
    parser.add_argument("--price", type=float, metavar="X", help="money for a device-hour [the driver's]")
    return parser


def _status(flags: argparse.Namespace) -> int:
    reader = Reader(flags.folder)
    if flags.watch is None:
        picture = reader.look()
        print(
            json.dumps(status_facts(picture, flags.price), indent=1)
            if flags.json
            else status_text(picture, flags.price)
        )
        return 0
    with suppress(KeyboardInterrupt):
        watch(reader, max(0.5, flags.watch), flags.price, sys.stdout, flags.json)
    return 0

"""Command line of the analysis: `python -m analysis report`, `merge`, `pack` and `unpack` of the folders of studies."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime

from analysis.guard import Parser, guarded, ledger_error
from analysis.merge import merge, merged_text
from analysis.pack import pack, unpack
from analysis.report import place, write_report, write_tables_only
from analysis.watch import watch

_REPORT = """\
Read the ledger of a running or finished study in DIR and write into DIR/report:
  index.html   one page with everything: open it in a browser
  summary.md   the readable table, also printed here
  tables/      every table as Parquet and CSV, short ones as Markdown and LaTeX too; README.md says what columns mean
  figures/     every figure as PNG, SVG and PDF
  arrays/      gains and scores [methods, seeds, pairs] as .npz, for rliable, autorank and the like
DIR may be the URI of an object store, as s3://bucket/studies/name."""

_MERGE = """\
Join the ledgers of one study that ran on several clusters. All must be the same study (data, recipes, numerics, …);
pairs, methods, seeds and trials are united. Runs that only one has are copied with their students and checkpoints;
of a run that several have, the furthest stays. Where finished runs differ, that is reported (exit code 1), and the
second one is kept in INTO/conflicts/. Nothing is written where a driver is at work, or where one teacher has
different weights. Given again after an interruption, it goes on."""

_PACK = """\
Write the record of a study, without weights and checkpoints, as a few small Parquet files into INTO, to be kept or
published. `unpack` makes of them a folder that `report` and `merge` read. The same study gives the same bytes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, 1 where a merge found conflicts, 2 after one line on stderr where a folder cannot be used."""
    return guarded(lambda: _main(_parser().parse_args(arguments)), ledger_error)


def report(arguments: Sequence[str] | None = None) -> int:
    """The console script `pat-report DIR`: the command `report`."""
    return main(["report", *(sys.argv[1:] if arguments is None else arguments)])


def _parser() -> Parser:
    parser = Parser(prog="python -m analysis", description="What a study found. Needs neither torch nor Ray.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    form = argparse.RawDescriptionHelpFormatter
    page = commands.add_parser(
        "report", help="tables and figures of one study", description=_REPORT, formatter_class=form
    )
    page.add_argument("folder", metavar="DIR", help="the study's folder, the one that holds matrix.parquet")
    page.add_argument("--tables", action="store_true", help="tables and summary.md alone, without figures and page")
    page.add_argument(
        "--watch", type=_seconds, metavar="SECONDS", help="write it again when something is new, until the study ends"
    )
    page.add_argument(
        "--skip-damaged", action="store_true", help="leave out runs whose files cannot be read, and name them"
    )
    join = commands.add_parser(
        "merge", help="one study from the ledgers of several clusters", description=_MERGE, formatter_class=form
    )
    join.add_argument("folders", metavar="DIR", nargs="+", help="folders of the study; the first one's runs stay")
    join.add_argument("--into", metavar="DIR", required=True, help="where it is joined: one of them, or a new folder")
    for name, about in (("pack", "a study's record in a few small files"), ("unpack", "a packed study as a folder")):
        packing = commands.add_parser(name, help=about, description=_PACK, formatter_class=form)
        packing.add_argument("folder", metavar="DIR", help="a study's folder" if name == "pack" else "a packed study")
        packing.add_argument("--into", metavar="DIR", required=True, help="a new or empty folder")
    return parser


def _main(flags: argparse.Namespace) -> int:
    if flags.command == "report":
        _report(flags)
        return 0
    if flags.command in ("pack", "unpack"):
        (pack if flags.command == "pack" else unpack)(flags.folder, flags.into)
        print(f"{flags.folder} is {flags.command}ed in {flags.into}")
        return 0
    merged = merge(flags.folders, flags.into)
    print(merged_text(merged, flags.into), end="")
    return 1 if merged.conflicts else 0


def _report(flags: argparse.Namespace) -> None:
    if flags.watch:
        watch(flags.folder, lambda last: _write_and_say(flags, None if last else flags.watch), flags.watch)
        return
    skip = flags.skip_damaged
    text = write_tables_only(flags.folder, skip) if flags.tables else write_report(flags.folder, skip_damaged=skip)
    print(text, end="")
    print(f"\nreport in {place(flags.folder, flags.tables)}")


def _write_and_say(flags: argparse.Namespace, refresh: int | None) -> None:
    text = write_report(flags.folder, refresh, flags.skip_damaged)
    progress = next(line for line in text.splitlines() if line.startswith("Data set"))
    print(f"{datetime.now():%H:%M:%S} {progress} Report in {place(flags.folder)}", flush=True)


def _seconds(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number of seconds, at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

"""Command line of the analysis: `python -m analysis report DIR` and `python -m analysis merge A B --into D`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from analysis.merge import merge, merged_text
from analysis.report import write_report
from analysis.schema import LedgerError

_REPORT = """\
Read the ledger of a running or finished study in DIR and write there:
  summary.parquet       one row per pair, method and setting, with gains, intervals and states
  summary.md            the same as a readable table, also printed here
  gain_heatmap.png/pdf  gain over scratch per pair of architectures
  learning_curves.png/pdf
DIR may be the URI of an object store, as s3://bucket/studies/name."""

_MERGE = """\
Join the ledgers of one study that ran on several clusters. All must be the same study (data, recipes, numerics, …);
pairs, methods, seeds and trials are united. Runs that only one has are copied with their students and checkpoints;
of a run that several have, the furthest stays. Where finished runs differ, that is reported (exit code 1), and the
second one is kept in INTO/conflicts/. Nothing is written where a driver is at work, or where one teacher has
different weights. Given again after an interruption, it goes on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, 1 where a merge found conflicts, 2 after one line on stderr where a folder cannot be used."""
    about = "What a study found. Needs neither torch nor Ray."
    parser = argparse.ArgumentParser(prog="python -m analysis", description=about)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    form = argparse.RawDescriptionHelpFormatter
    report = commands.add_parser(
        "report", help="tables and figures of one study", description=_REPORT, formatter_class=form
    )
    report.add_argument("folder", metavar="DIR", help="the study's folder, the one that holds matrix.parquet")
    join = commands.add_parser(
        "merge", help="one study from the ledgers of several clusters", description=_MERGE, formatter_class=form
    )
    join.add_argument("folders", metavar="DIR", nargs="+", help="folders of the study; the first one's runs stay")
    join.add_argument("--into", metavar="DIR", required=True, help="where it is joined: one of them, or a new folder")
    flags = parser.parse_args(arguments)
    try:
        if flags.command == "report":
            print(write_report(flags.folder), end="")
            return 0
        merged = merge(flags.folders, flags.into)
        print(merged_text(merged, flags.into), end="")
        return 1 if merged.conflicts else 0
    except LedgerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

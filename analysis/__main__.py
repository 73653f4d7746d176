"""Command line of the analysis: `python -m analysis report DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from analysis.report import write_report
from analysis.schema import LedgerError

_REPORT = """\
Read the ledger of a running or finished study in DIR and write there:
  summary.parquet       one row per pair, method and setting, with gains, intervals and states
  summary.md            the same as a readable table, also printed here
  gain_heatmap.png/pdf  gain over scratch per pair of architectures
  learning_curves.png/pdf
DIR may be the URI of an object store, as s3://bucket/studies/name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, or 2 after one line on stderr where the folder cannot be used."""
    about = "What a study found. Needs neither torch nor Ray."
    parser = argparse.ArgumentParser(prog="python -m analysis", description=about)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    report = commands.add_parser(
        "report",
        help="tables and figures of one study",
        description=_REPORT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument("folder", metavar="DIR", help="the study's folder, the one that holds matrix.parquet")
    folder = parser.parse_args(arguments).folder
    try:
        print(write_report(folder), end="")
    except LedgerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

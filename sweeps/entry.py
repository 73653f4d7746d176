"""The command of the matrix, up to where it takes long: flags are looked at before anything large is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from analysis.environment import bear_surroundings
from sweeps.command import guarded
from sweeps.flags import limits, parser
from sweeps.started import in_job


def main(argv: Sequence[str] | None = None) -> int:
    """As `sweeps.cli.main`."""
    argv = list(sys.argv[1:] if argv is None else argv)
    bear_surroundings()

    def look() -> int:
        limits(parser().parse_args(argv))
        return 0

    if not in_job() and (code := guarded(look, "--verbose" in argv)):  # in a job `sweeps.cli` has a farewell to say
        return code
    if sys.stderr.isatty():  # somebody looks on, and the imports take seconds
        print("starting", file=sys.stderr, flush=True)
    from sweeps.cli import main as run

    return run(argv)

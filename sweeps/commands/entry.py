"""The command of the matrix, up to where it takes long: flags are looked at before anything large is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from analysis.environment import bear_surroundings
from sweeps.commands.flags import limits, parser
from sweeps.guard import guarded
from sweeps.meanwhile import still, whisper
from sweeps.presets import CIFAR100, check_preset
from sweeps.started import in_job


def main(argv: Sequence[str] | None = None) -> int:
    """As `sweeps.commands.grid.main`."""
    argv = list(sys.argv[1:] if argv is None else argv)
    bear_surroundings()

    def look() -> int:
        flags = parser().parse_args(argv)
        limits(flags)
        if not flags.imports:  # which may bring presets
            check_preset(flags.preset or CIFAR100)
        return 0

    if not in_job() and (code := guarded(look, "--verbose" in argv)):  # in a job `grid` has a farewell to say
        return code
    whisper("starting")
    with still("importing torch and what needs it"):
        from sweeps.commands.grid import main as run

    return run(argv)

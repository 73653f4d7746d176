"""`python -m sweeps stop DIR`: every run of a study pauses after its epoch, then its driver ends. Nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.definition import below
from analysis.live import read_driver
from analysis.words import duration
from pat.config import ConfigError
from sweeps.engine.jobs import STOP
from sweeps.guard import Parser, guarded


def main(argv: Sequence[str]) -> int:
    """Ask; returns the exit code: 0 asked, 2 nobody is there to be asked."""
    flags = Parser(prog="python -m sweeps stop", description=__doc__)
    flags.add_argument("folder", metavar="DIR", help="the study's folder")
    return guarded(lambda: _stop(Path(flags.parse_args(argv).folder)), verbose=False)


def _stop(folder: Path) -> int:
    driver = read_driver(folder)
    if driver is None or not driver.alive:
        why = "it has had no driver"
        if driver is not None and driver.ended:
            why = f"its last driver has ended: {driver.ended}"
        elif driver is not None:
            why = f"its last driver, pid {driver.pid} on {driver.host}, is gone since {duration(driver.silence())}"
        raise ConfigError(f"no driver works on the study in {str(folder)!r}: {why}{below(folder)}")
    (folder / STOP).touch()
    print(f"asked pid {driver.pid} on {driver.host} to stop; each run in flight ends its epoch first")
    return 0

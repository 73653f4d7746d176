"""What a one-worker Tune trial does: one segment of a run in its own process, or of several that are trained together.

Imports little, because every process of a Ray Train run starts afresh and waits for it.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from sweeps.engine.health import Failure, here, sits_out

if TYPE_CHECKING:
    from pat.io import LocalIO

STORAGE = "_ray"
"""Ray Train's own folder inside the study's, which every machine sees; its name keeps the ledger's readers away."""
POLL_SECONDS = 1.0


def run_one(values: dict[str, Any], log: bool = False) -> None:
    """A segment in the trial's own process; `values` are those of a `Job`. With `log` every epoch is reported, for
    Tune's callbacks; else as `run_together`."""
    _run([values], log)


def run_together(values: Sequence[dict[str, Any]]) -> None:
    """Segments that are trained together; how each comes to its end is reported as it does, under its run_id.

    At a place that gets no work, or not one of these, all are given back, and the trial waits for a while, so that
    another place gets them. What stops the study is reported. After any other error the process ends, once the others
    have come to their end: a device's stay in it.
    """
    _run(values)


def _run(values: Sequence[dict[str, Any]], log: bool = False) -> None:
    place = here()
    waits = [sits_out(place, one["avoid"], one["closed"]) for one in values]
    if (seconds := max((wait for wait in waits if wait is not None), default=None)) is not None:
        tune.report({"epochs": 0, "declined": list(place)})
        _wait(Path(values[0]["folder"]), seconds)
        return
    from pat.io import LocalIO
    from pat.memory import Crowded
    from sweeps.engine.runs import STOPS_STUDY, Job, execute_together

    jobs, broken = [Job.from_dict(one) for one in values], False
    for job, end in execute_together(jobs, _telling if log else LocalIO, record_errors=False):
        report: dict[str, Any] = {"epochs": job.until, "run": job.run.run_id, "place": list(place)}
        if isinstance(end, Crowded):
            report |= {"epochs": 0, "crowded": True}
        elif isinstance(end, Exception):
            report |= {"epochs": 0, "failure": told(end)}
            if not isinstance(end, STOPS_STUDY):
                broken = True
                traceback.print_exception(end)
        tune.report(report)
    if broken:
        sys.stderr.flush()
        os._exit(1)


def told(error: BaseException) -> list[Any]:
    """The fields of `described` as a list: of a mapping, Tune would tell the driver each entry under a name of its
    own."""
    return list(astuple(described(error)))


def described(error: BaseException) -> Failure:
    """What the driver is told of an error that a segment raised."""
    from pat.memory import OutOfMemory
    from pat.surroundings import of_surroundings
    from sweeps.engine.records import first_line
    from sweeps.engine.runs import STOPS_STUDY

    if isinstance(error, STOPS_STUDY):
        return Failure(first_line(error), "stop", said=True)
    kind = "oom" if isinstance(error, OutOfMemory) else "lost" if of_surroundings(error) else "bug"
    return Failure(first_line(error), kind, said=True)


def _wait(folder: Path, seconds: float) -> None:
    """Until the time is over, or the driver wants its processes back."""
    from sweeps.engine.jobs import asked_to_pause

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not asked_to_pause(folder):
        time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))


def _telling(folder: Path, on_epoch: Any, stop: Any, files: Any) -> LocalIO:
    """A `LocalIO` that also reports each epoch to Tune."""
    from pat.io import LocalIO

    def tell(history: list[dict[str, Any]]) -> None:
        on_epoch(history)
        tune.report({"epochs": history[-1]["epoch"], **history[-1]})

    return LocalIO(folder, tell, stop, files)

"""What a one-worker Tune trial does: one segment of a run, in its own process.

Imports little, because every process of a Ray Train run starts afresh and waits for it.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
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
    """A segment in the trial's own process; `values` are those of a `Job`. What stops the study is reported, and
    with `log` every epoch, for Tune's callbacks.

    At a place that gets no work, or not this, the segment is given back, and the trial waits for a while, so that
    another place gets it. After any other error that is reported the process ends: a device's stay in it.
    """
    place = here()
    if (seconds := sits_out(place, values["avoid"], values["closed"])) is not None:
        tune.report({"epochs": 0, "declined": list(place)})
        _wait(Path(values["folder"]), seconds)
        return
    from pat.io import LocalIO
    from sweeps.engine.runs import STOPS_STUDY, Job, execute

    try:
        execute(Job.from_dict(values), _telling if log else LocalIO, record_errors=False)
    except STOPS_STUDY as refusal:
        tune.report({"epochs": 0, "failure": told(refusal), "place": list(place)})
    except Exception as error:
        tune.report({"epochs": 0, "failure": told(error), "place": list(place)})
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    else:
        tune.report({"epochs": values["until"], "place": list(place)})


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

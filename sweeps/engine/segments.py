"""What a one-worker Tune trial does: one segment of a run, in its own process.

Imports little, because every process of a Ray Train run starts afresh and waits for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

if TYPE_CHECKING:
    from pat.io import LocalIO

STORAGE = "_ray"
"""Ray Train's own folder inside the study's, which every machine sees; its name keeps the ledger's readers away."""


def run_one(values: dict[str, Any], log: bool = False) -> None:
    """A segment in the trial's own process; `values` are those of a `Job`. What stops the study is reported, and
    with `log` every epoch, for Tune's callbacks."""
    from pat.io import LocalIO
    from sweeps.engine.records import first_line
    from sweeps.engine.runs import STOPS_STUDY, Job, execute

    try:
        execute(Job.from_dict(values), _telling if log else LocalIO)
    except STOPS_STUDY as refusal:
        tune.report({"epochs": 0, "fatal": first_line(refusal)})
    else:
        tune.report({"epochs": values["until"]})


def _telling(folder: Path, on_epoch: Any, stop: Any, files: Any) -> LocalIO:
    """A `LocalIO` that also reports each epoch to Tune."""
    from pat.io import LocalIO

    def tell(history: list[dict[str, Any]]) -> None:
        on_epoch(history)
        tune.report({"epochs": history[-1]["epoch"], **history[-1]})

    return LocalIO(folder, tell, stop, files)

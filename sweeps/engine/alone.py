"""A study without Ray: one segment after the other in this process, or one group of them."""

from __future__ import annotations

from dataclasses import replace

from pat.memory import Crowded
from pat.surroundings import SurroundingsError
from sweeps.engine.driver import Driver
from sweeps.engine.endings import Fatal
from sweeps.engine.health import Failure
from sweeps.engine.hold import Superseded
from sweeps.engine.records import first_line
from sweeps.engine.runs import STOPS_STUDY, execute_together


def run_here(driver: Driver) -> None:
    """Drive the study to its end in this process, on one worker.

    Raises Fatal, naming the file, for what concerns every run, and Paused.
    """
    with driver.progress.ticking():
        while (kind := driver.kind()) is not None:
            driver.check_pause()
            jobs = [replace(job, patience=0.0) for job in driver.next_jobs(kind)]
            for job, end in execute_together(jobs):
                _told(driver, job.run.run_id, end)
    driver.finish()


def _told(driver: Driver, run_id: str, end: str | Exception) -> None:
    if isinstance(end, str):
        driver.ended(run_id)
    elif isinstance(end, Crowded):
        driver.crowded(run_id)
    elif isinstance(end, Superseded):  # what a killed driver's processes were at comes to its end first
        driver.lost(run_id, Failure(first_line(end)))
    elif isinstance(end, (*STOPS_STUDY, SurroundingsError)):
        raise Fatal(first_line(end)) from end
    else:
        raise end

"""A study without Ray: one segment after the other in this process."""

from __future__ import annotations

from dataclasses import replace

from pat.surroundings import SurroundingsError
from sweeps.engine.driver import Driver
from sweeps.engine.endings import Fatal
from sweeps.engine.health import Failure
from sweeps.engine.hold import Superseded
from sweeps.engine.records import first_line
from sweeps.engine.runs import STOPS_STUDY, execute


def run_here(driver: Driver) -> None:
    """Drive the study to its end in this process, one segment after the other, each on one worker.

    Raises Fatal, naming the file, for what concerns every run, and Paused.
    """
    with driver.progress.ticking():
        while (kind := driver.kind()) is not None:
            driver.check_pause()
            job = driver.next_job(kind)
            assert job is not None
            try:
                execute(replace(job, patience=0.0))
            except Superseded as error:  # what a killed driver's processes were at comes to its end first
                driver.lost(job.run.run_id, Failure(first_line(error)))
                continue
            except (*STOPS_STUDY, SurroundingsError) as error:
                raise Fatal(first_line(error)) from error
            driver.ended(job.run.run_id)
    driver.finish()

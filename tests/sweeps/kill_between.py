"""Drivers that kill themselves before, between and after the end of a run that others wait for; runs are replayed.

python kill_between.py STORAGE KIND     each of them has a folder of STORAGE; prints how each ended. KIND of study: one
    whose student starts from a teacher ("chained"), or from its pre-training ("pretrained")
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import siblings  # noqa: E402

import sweeps.engine.driver  # noqa: E402
import sweeps.engine.runs  # noqa: E402
from pat.config import RunConfig  # noqa: E402
from pat.io import IO  # noqa: E402
from pat.train import Outcome  # noqa: E402
from sweeps.planning.units import Key, Runs  # noqa: E402


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def drive(storage: Path, where: str, kind: str) -> None:
    """The study of the test until it is killed."""
    if kind == "pretrained":
        study = siblings.pretrained()
        needed = Runs(study).awaited(Key("pretrain", study.cells()[0])).run_id
    else:
        study = siblings.chained()
        needed = siblings.of_teacher(study, siblings.CNN_STUDENT)
    ended = sweeps.engine.driver.Driver.ended

    def train(config: RunConfig, world: IO, **rest: Any) -> Outcome:
        outcome = siblings.exporting_train(config, world, **rest)
        if (where == "before" and config.run_id == needed) or (where == "after" and config.initial == f"run:{needed}"):
            die()
        return outcome

    def end(self: sweeps.engine.driver.Driver, run_id: str) -> None:
        if where == "between" and run_id == needed:
            die()
        ended(self, run_id)

    sweeps.engine.runs.train = train  # type: ignore[assignment]
    sweeps.engine.driver.Driver.ended = end  # type: ignore[method-assign]
    siblings.drive(storage / where, study)


if __name__ == "__main__":
    for where in siblings.KILLS:
        if not (child := os.fork()):
            drive(Path(sys.argv[1]), where, sys.argv[2])
            os._exit(0)
        print(where, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)

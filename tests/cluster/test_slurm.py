"""`cluster/slurm.sh` in a real SLURM of two nodes on this machine: a study that is signalled, queued again, completed.

Run as root with the distribution's packages: `make cluster-test`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import read_runs
from tests.cluster.slurm.machine import NODES, missing, running

ROOT = Path(__file__).parents[2]
STUDY = ["--preset", "digits", "--pairs", "1", "--methods", "kd", "--trials", "0", "--seeds", "8"]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


def test_a_study_is_queued_again_and_completed(tmp_path: Path) -> None:
    place, log = Path(tempfile.mkdtemp(prefix="slurm-")), tmp_path / "log"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with running(place) as environment:
        environment |= {"PATH": path, "RAY_worker_niceness": "0", "TMPDIR": tempfile.gettempdir()}
        for name in ("RAY_AUTH_MODE", "PYTHONPATH"):
            environment.pop(name, None)

        def slurm(*command: str) -> str:
            done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            return done.stdout

        def job(field: str) -> str:
            found = re.search(rf"\b{field}=(\S*)", slurm("scontrol", "show", "job", number))
            return found[1] if found else ""

        def until(what: str, found: Callable[[], bool], seconds: float = 400) -> None:
            deadline = time.monotonic() + seconds
            while not found():
                said = log.read_text()[-3000:] if log.exists() else ""
                assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s\n{said}"
                assert job("JobState") not in ("FAILED", "CANCELLED"), f"{what}: the job has ended\n{said}"
                time.sleep(1)

        asked = ["--nodes=2", "--cpus-per-task=1", "--gpus-per-node=0", f"--output={log}"]
        arguments = [*STUDY, "--storage", str(tmp_path), "--data-root", "data"]
        number = slurm("sbatch", "--parsable", *asked, "cluster/slurm.sh", *arguments).strip()
        folder = tmp_path / "digits"
        until("two runs", lambda: folder.exists() and len(read_runs(folder)) >= 2)
        before = set(read_runs(folder)["run_id"])
        slurm("scancel", "--signal=USR1", "--batch", number)
        until("queued again", lambda: job("Restarts") == "1", 120)
        assert re.search(
            r"paused: signal USR2 came; \d+ of \d+ runs are done, the same command goes on", log.read_text()
        )
        assert len(read_runs(folder)) < 17 and "is queued again" in log.read_text()
        until("begun again", lambda: slurm("squeue", "-h", "-j", number, "-o", "%T").strip() != "COMPLETING", 60)
        subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now"], env=environment, check=False)
        until("the end", lambda: job("JobState") == "COMPLETED")
        assert job("ExitCode") == "0:0" and job("NodeList") == f"n[{NODES[0][1:]}-{NODES[-1][1:]}]"
    runs = read_runs(folder)
    assert len(runs) == 17 and set(runs["status"]) == {"finished"} and before <= set(runs["run_id"])
    assert "on 2 slots of 1 CPU" in log.read_text()

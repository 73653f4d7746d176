"""A SLURM of two nodes on this one machine, as root: munged, slurmctld, two slurmd, with everything in one folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}
NODES = ("n1", "n2")
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=26817
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool-%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd-%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/linear
SlurmdParameters=config_overrides
MessageTimeout=60
KillWait=10
JobRequeue=1
ReturnToService=2
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """What this test needs and this machine does not have, in one line; nothing if all is there."""
    if os.geteuid() != 0:
        return "needs root, for SLURM's daemons"
    lacking = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    return f"needs the packages {', '.join(lacking)}" if lacking else ""


@contextmanager
def running(place: Path) -> Iterator[dict[str, str]]:
    """SLURM for the time of the block; gives the environment in which its commands find it."""
    for folder in ("state", *(f"spool-{name}" for name in NODES)):
        (place / folder).mkdir()
    lines = [
        f"NodeName={name} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={26820 + number} CPUs=2"
        for number, name in enumerate(NODES)
    ]
    (place / "slurm.conf").write_text(CONFIG.format(place=place, host=socket.gethostname(), nodes="\n".join(lines)))
    (place / "munge.key").write_bytes(os.urandom(128))
    (place / "munge.key").chmod(0o600)
    environment = {**os.environ, "SLURM_CONF": str(place / "slurm.conf")}
    files = {"socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed", "log-file": "munge.log"}
    munge = ["munged", "--foreground", "--force", f"--key-file={place}/munge.key"]
    commands = [
        [*munge, *(f"--{option}={place / name}" for option, name in files.items())],
        ["slurmctld", "-D", "-c"],
        *(["slurmd", "-D", "-N", name] for name in NODES),
    ]
    started = []
    try:
        for command in commands:
            with open(place / f"{command[0]}.out", "ab") as output:
                started.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
            time.sleep(2)
        yield environment
    finally:
        subprocess.run(["scancel", "--full", "--user=root"], env=environment, timeout=60, check=False)
        time.sleep(5)
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

"""The cluster of `cluster/onprem.yaml` on two machines in namespaces, used from a third: the laptop of the docs."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.netns.machines import ADDRESSES, CHECKOUT, LAPTOP, NICE, Machine, machines
from tests.cluster.netns.terminal import Terminal

YAML, SCRIPT = "cluster/onprem.yaml", "sweeps/hetero_grid.py"
NODES = ("node1", "node2")
EDITS = {
    r"head_ip: \S+": f"head_ip: {ADDRESSES['node1']}",
    r"worker_ips: \[.*?\]": f"worker_ips: [{ADDRESSES['node2']}]",
    r"ssh_user: \S+": "ssh_user: root",
    r"ssh_private_key: \S+": "ssh_private_key: ~/.ssh/id",
}
"""What the block at the top of the file asks its user to edit."""
START = "--num-cpus=1 --object-store-memory=150000000"
"""Both machines are one, of two cores: each Ray takes one."""


def edited(definition: str) -> str:
    """`onprem.yaml` for these machines: its block edited, and `ray start` told how large a machine is."""
    for pattern, value in EDITS.items():
        definition, count = re.subn(pattern, value, definition)
        assert count == 1, f"{pattern} is {count} times in {YAML}"
    start = rf"  - {NICE} \1 {START}"
    definition, count = re.subn(r"^  - (.*ray start .*)$", start, definition, flags=re.MULTILINE)
    assert count == 2, f"{count} lines of {YAML} start Ray"
    return definition


class Cluster:
    """The machines, what is done from the laptop, and how long it took."""

    def __init__(self, folder: Path, running: dict[str, Machine]) -> None:
        self.folder, self.machines = folder, running
        self.shared, self.project = folder / "shared", folder / "project"
        self.laptop, self.nodes = running[LAPTOP], [running[name] for name in NODES]
        self._count = 0

    def open(self, script: str) -> Terminal:
        """Give a command in a terminal of the laptop, in the project's folder."""
        self._count += 1
        words = re.findall(r"[\w./]+", script)[:3]
        log = self.folder / f"{self._count:02d}-{'-'.join(word.rpartition('/')[2] for word in words)}.log"
        say(f"$ {script}")
        return Terminal(self.laptop, script, log)

    def give(self, script: str, limit: float, expect: int = 0) -> str:
        """Give a command, wait for its end; returns what it printed."""
        terminal = self.open(script)
        code = terminal.wait(limit)
        say(f"  exit {code} after {terminal.seconds:.0f} s")
        assert code == expect, f"{script}: exit {code}, not {expect}:\n{terminal.text[-3000:]}"
        return terminal.text

    def submit(self, arguments: str) -> str:
        """What starts a study, and what looks on when it runs."""
        return f"ray submit {YAML} {SCRIPT} -- {arguments}"

    def processes(self) -> dict[str, list[str]]:
        """What runs in each machine."""
        return {name: sorted(machine.processes().values()) for name, machine in self.machines.items()}


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Three machines. In `folder`, an empty one: logs, `shared` (the nodes' /mnt/pat) and `project` (on the laptop)."""
    source, shared = folder / "project", folder / "shared"
    shared.mkdir(parents=True)
    kept = ["rsync", "-a", "--exclude=.git", "--filter=:- .gitignore"]
    subprocess.run([*kept, f"{CHECKOUT}/", str(source)], check=True)
    (source / YAML).write_text(edited((source / YAML).read_text()))
    with machines(folder / "settings", shared, source) as running:
        yield Cluster(folder, running)


def say(line: str) -> None:
    """Show a line at once, past pytest's capture if there is none."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def until(there: Callable[[], object], what: str, limit: float) -> float:
    """Wait until something is there; returns the seconds. Raises TimeoutError."""
    start = time.monotonic()
    while not there():
        if time.monotonic() - start > limit:
            raise TimeoutError(f"{what}: not within {limit:.0f} s")
        time.sleep(0.5)
    return time.monotonic() - start

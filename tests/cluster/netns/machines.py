"""Machines on one Linux box: namespaces with their own network, processes, files, host name and sshd.

Needs root. All that a machine writes is gone with it, but for the nodes' /mnt/pat and the laptop's project.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[2]
PROGRAMS = {
    "/usr/sbin/sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "rsync": "rsync",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
BRIDGE, NETWORK = "pat-test", "10.77.0"
LAPTOP = "laptop"
NICE = "RAY_worker_niceness=0"
"""Other work on this box must not starve the workers."""
ADDRESSES = {"node1": f"{NETWORK}.11", "node2": f"{NETWORK}.12", LAPTOP: f"{NETWORK}.21"}


def missing() -> str:
    """What this test needs and this machine does not have, in one line; nothing if all is there."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    lacking = {f"{program} (package {package})": None for program, package in PROGRAMS.items() if not _there(program)}
    return f"needs {', '.join(lacking)}" if lacking else ""


def _there(program: str) -> bool:
    return shutil.which(program) is not None


@dataclass
class Machine:
    """One machine that runs; `process` holds its process 1 and dies with it."""

    name: str
    process: subprocess.Popen[bytes]
    pid: int

    def command(self, script: str) -> list[str]:
        """The command that runs a line of bash in this machine, as its root, in the checkout's place."""
        inside = ["nsenter", f"--target={self.pid}", "--net", "--pid", "--mount", "--uts", "--"]
        clean = ["env", "-i", "HOME=/root", "LANG=C.UTF-8", "TERM=xterm", "RAY_USAGE_STATS_ENABLED=0", NICE]
        path = f"PATH={CHECKOUT}/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return [*inside, *clean, path, "bash", "-c", f"cd {CHECKOUT} && {script}"]

    def run(self, script: str, limit: float = 30) -> str:
        """The output of a line of bash in this machine. Raises CalledProcessError and TimeoutExpired."""
        done = subprocess.run(self.command(script), timeout=limit, check=True, text=True, capture_output=True)
        return done.stdout

    def processes(self) -> dict[int, str]:
        """What runs in this machine but its process 1 and the sshd: pid, as seen from outside, -> command line."""
        pids = _run("ip", "netns", "pids", _namespace(self.name)).split()
        titles = {int(pid): _title(int(pid))[:200] for pid in pids}
        own = ("sshd: /usr/sbin/sshd", "sleep 3600", "unshare", "bash " + str(HERE / "init.sh"))
        return {pid: title for pid, title in titles.items() if title and not title.startswith(own)}

    def connect(self, up: bool) -> None:
        """Plug this machine's network cable in, or pull it out."""
        _run("ip", "link", "set", _cable(self.name), "up" if up else "down")

    def kill(self) -> None:
        """End every process of this machine."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def _namespace(name: str) -> str:
    return f"pat-{name}"


def _cable(name: str) -> str:
    return f"pat-{name}"


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout


@contextmanager
def machines(place: Path, shared: Path, source: Path) -> Iterator[dict[str, Machine]]:
    """The two nodes and the laptop, for the time of the block.

    `place`: an empty folder for keys and settings. `shared`: the folder behind the nodes' /mnt/pat. `source`: the
    project that the laptop has in the place of this checkout; the nodes have none.
    """
    _keys(place)
    _sweep_up()
    _run("ip", "link", "add", BRIDGE, "type", "bridge")
    started: dict[str, Machine] = {}
    try:
        _run("ip", "address", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        for name in ADDRESSES:
            _network(name)
            started[name] = _start(name, place, {"SOURCE": source} if name == LAPTOP else {"SHARED": shared})
        yield started
    finally:
        for machine in started.values():
            machine.kill()
        _sweep_up()


def _keys(place: Path) -> None:
    """The keys of the hosts and of the user, and what every machine knows about the others."""
    place.mkdir(parents=True)
    for key in ("host", "id"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(place / key))
    public = (place / "host.pub").read_text()
    (place / "known_hosts").write_text("".join(f"{address} {public}" for address in ADDRESSES.values()))
    names = "".join(f"{address} {name}\n" for name, address in ADDRESSES.items())
    (place / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
    (place / "sshd_config").write_text((HERE / "sshd_config").read_text().replace("KEYS", "/run/own/PLACE"))


def _network(name: str) -> None:
    """A network namespace with one cable to the bridge."""
    space, cable = _namespace(name), _cable(name)
    _run("ip", "netns", "add", space)
    _run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
    _run("ip", "link", "set", cable, "master", BRIDGE, "up")
    _run("ip", "-n", space, "address", "add", f"{ADDRESSES[name]}/24", "dev", "eth0")
    for device in ("eth0", "lo"):
        _run("ip", "-n", space, "link", "set", device, "up")
    _run("ip", "-n", space, "route", "add", "default", "via", f"{NETWORK}.1")


def _start(name: str, place: Path, folder: dict[str, Path]) -> Machine:
    """Start process 1 of a machine and wait until its files are there. It does not outlive this process."""
    environment = {
        "PATH": os.environ["PATH"],
        "NAME": name,
        "PLACE": str(place),
        "CHECKOUT": str(CHECKOUT),
        "PYTHON": sys.base_prefix,
        **{part: str(path) for part, path in folder.items()},
    }
    enter = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", _namespace(name)]
    unshare = ["unshare", "--pid", "--fork", "--mount", "--uts", "--kill-child", "bash", str(HERE / "init.sh")]
    with (place / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([*enter, *unshare], env=environment, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if children and Path("/proc", children[0], "root", "run/own/ready").exists():
            return Machine(name, process, int(children[0]))
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"machine {name} does not start: {(place / f'{name}.log').read_text()[-500:]}")


def _sweep_up() -> None:
    """Remove the network of machines that are gone; raises RuntimeError while one still runs."""
    there = _run("ip", "netns", "list").split()
    for space in (_namespace(name) for name in ADDRESSES):
        if space not in there:
            continue
        deadline = time.monotonic() + 10
        while pids := _run("ip", "netns", "pids", space).split():
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes {pids[:5]} still run in {space}: another `make cluster-test`?")
            time.sleep(0.1)
        _run("ip", "netns", "delete", space)
    if Path("/sys/class/net", BRIDGE).exists():
        _run("ip", "link", "delete", BRIDGE)


if __name__ == "__main__":
    sys.exit(f"make cluster-test {reason}" if (reason := missing()) else 0)

"""What a killed driver leaves of its embedded Ray: orphaned processes, and a folder of sockets and logs.

Each driver writes down what is its own; the next one on the machine ends and removes what stands there, once that
driver is gone. A process is known by its number and its start, so that a number given anew is never taken for it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

RECORDS = "sweeps-ray-"
PROC = Path("/proc")


def record(session: Path) -> None:
    """Write down this process, all that it has started, and its Ray's folder. Nothing where the system does not say."""
    own = os.getpid()
    if (running := _running()) and own in running:
        content = {
            "where": _where(),
            "owner": [own, running[own][1]],
            "processes": [[pid, running[pid][1]] for pid in _descendants(own, running)],
            "session": str(session),
        }
        with tempfile.NamedTemporaryFile("w", prefix=RECORDS, suffix=".json", delete=False) as file:
            json.dump(content, file)


def sweep() -> None:
    """End and remove what the drivers of this user that are gone have left on this machine."""
    running = _running()
    for path in Path(tempfile.gettempdir()).glob(f"{RECORDS}*.json") if running else ():
        with suppress(OSError, ValueError, KeyError, TypeError):
            if path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
            found = json.loads(path.read_text())
            if found["where"] != _where() or _lives(found["owner"], running):
                continue
            for process in found["processes"]:
                if _lives(process, running):
                    os.kill(process[0], signal.SIGKILL)
            session = Path(found["session"])
            if session.name.startswith("session_") and not session.is_symlink():
                shutil.rmtree(session, ignore_errors=True)
            path.unlink()


def _where() -> str:
    """This start of this machine, and the space in which its process numbers count."""
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink(PROC / 'self/ns/pid')}"


def _running() -> dict[int, tuple[int, int]]:
    """Every process: its parent, and its start in ticks since the machine's; empty where the system does not say."""
    found = {}
    for path in PROC.glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            found[int(path.parent.name)] = int(fields[1]), int(fields[19])
    return found


def _lives(process: Any, running: dict[int, tuple[int, int]]) -> bool:
    pid, start = process
    return pid in running and running[pid][1] == start


def _descendants(pid: int, running: dict[int, tuple[int, int]]) -> list[int]:
    children = [child for child, (parent, _) in running.items() if parent == pid]
    return children + [further for child in children for further in _descendants(child, running)]

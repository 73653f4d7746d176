"""One driver a study: its lock, and the sign of life that other machines and people see.

On one machine a file lock decides, which ends with its process however that ends. Between machines `driver.json`
does: the driver writes it every few seconds, and one that no longer changes is of a driver that is gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from analysis import storage
from analysis.live import FILE, LOCK
from analysis.schema import LedgerError
from pat.config import ConfigError
from sweeps.engine.repeat import repeating
from sweeps.waves import FOLDER as SEARCHES

BEAT_SECONDS = 5.0
CLOCKS_AGREE_SECONDS = 600.0
"""Clocks of two machines differ by less; a sign of life that is older needs no watching."""


class Pulse:
    """Writes `driver.json`: host, pid, beat, and what `facts` says at each beat."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: Callable[[], dict[str, Any]] = dict
        self.usurper = ""
        self._token = uuid.uuid4().hex
        self._started = _now()
        self._begun = False
        self._told: dict[str, Any] = {}
        self._writing = threading.Lock()

    def beat(self, ended: str = "") -> None:
        """One sign of life. Never raises: a beat that cannot be written is left out, facts that cannot be told as well.

        `usurper` names a driver that took over.
        """
        try:
            with self._writing:
                other = read_pulse(self.folder) if self._begun else {}
                if other and other.get("token") != self._token:
                    self.usurper = f"pid {other['pid']} on {other['host']}"
                    return
                self._begun = True
                storage.write_file(self.folder, FILE, json.dumps(self._content(ended), indent=1).encode())
        except LedgerError:
            return

    def _content(self, ended: str) -> dict[str, Any]:
        own: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": self._started,
            "beat": _now(),
        }
        own |= {"token": self._token, "command": shlex.join(sys.argv), "ended": ended}
        try:
            self._told = self.facts()
        except Exception as error:  # of whatever is told; that somebody drives is told all the same
            own["untold"] = f"{type(error).__name__}: {error}"
        return {**own, **self._told}

    @contextmanager
    def beating(self, every: float = BEAT_SECONDS) -> Iterator[None]:
        """Beats for the time of the block; the last one says how it ended."""
        self.beat()
        ended = "stopped"
        try:
            with repeating(self.beat, every):
                yield
            ended = "done"
        except Exception as error:
            ended = (str(error).splitlines() or [type(error).__name__])[0]
            raise
        finally:
            self.beat(ended)


@contextmanager
def locked(folder: Path) -> Iterator[Pulse]:
    """The folder for one driver alone, and its sign of life. Ends with the process.

    What a driver and its processes wrote that were here a moment ago is waited for, where the disk may show it late;
    what killed ones had begun to write beside the runs is removed.
    Raises ConfigError, naming host and pid, while another one works in it, and where it cannot be written.
    """
    with _opened(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(_refusal(folder, read_pulse(folder))) from error
        except OSError as error:
            raise ConfigError(
                f"{str(folder / LOCK)!r} cannot be locked: {error.strerror}; a study's folder must be on a file system "
                "that can lock files"
            ) from error
        other = read_pulse(folder)
        if _elsewhere(other) and _alive(folder, other):
            raise ConfigError(_refusal(folder, other))
        for place in (folder, folder / SEARCHES):
            storage.remove_half_written(place)
        pulse = Pulse(folder)
        with pulse.beating():
            if other and _age(other) <= CLOCKS_AGREE_SECONDS:
                storage.catch_up(folder)
            yield pulse


def _opened(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return open(folder / LOCK, "w")
    except OSError as error:
        raise ConfigError(f"storage {str(folder)!r} cannot be written: {error.strerror}") from error


def read_pulse(folder: Path) -> dict[str, Any]:
    """The last sign of life in a folder; empty where there is none that can be read."""
    try:
        found = json.loads(storage.read_file(folder, FILE) or b"{}")
    except (LedgerError, ValueError):
        return {}
    return found if isinstance(found, dict) and {"host", "pid", "beat", "started"} <= found.keys() else {}


def _elsewhere(other: dict[str, Any]) -> bool:
    """Whether a driver on another machine has not said that it ended."""
    return bool(other) and not other.get("ended") and other["host"] != socket.gethostname()


def _age(other: dict[str, Any]) -> float:
    """Seconds since a sign of life, by the two machines' clocks."""
    return abs((datetime.now(UTC) - datetime.fromisoformat(other["beat"])).total_seconds())


def _alive(folder: Path, other: dict[str, Any]) -> bool:
    """Watches whether the sign of life changes, since clocks may differ; not for one that is long past."""
    if _age(other) > CLOCKS_AGREE_SECONDS:
        return False
    deadline = time.monotonic() + 3 * BEAT_SECONDS
    while time.monotonic() < deadline:
        if read_pulse(folder).get("beat") != other["beat"]:
            return True
        time.sleep(BEAT_SECONDS / 5)
    return False


def _refusal(folder: Path, other: dict[str, Any]) -> str:
    who = f"pid {other['pid']} on {other['host']}, since {other['started'][:19]} UTC" if other else "another process"
    return f"{who} works on the study in {str(folder)!r}: wait for its end, or stop it: python -m sweeps stop {folder}"


def _now() -> str:
    return datetime.now(UTC).isoformat()

"""A command in a terminal of the laptop: what it prints, what is typed, how it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path

from tests.cluster.netns.machines import Machine

CTRL_C = "\x03"


class Terminal:
    """A command that runs in a terminal; all that it prints goes to `log`, too."""

    def __init__(self, machine: Machine, script: str, log: Path) -> None:
        self.started, self.log = time.monotonic(), log
        self._keyboard, screen = pty.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        self.process = subprocess.Popen(
            machine.command(script), stdin=screen, stdout=screen, stderr=screen, start_new_session=True
        )
        os.close(screen)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self.log.open("ab", buffering=0) as file:
            while True:
                try:
                    shown = os.read(self._keyboard, 65536)
                except OSError:
                    return
                if not shown:
                    return
                file.write(shown)

    @property
    def text(self) -> str:
        return self.log.read_bytes().decode(errors="replace").replace("\r\n", "\n") if self.log.exists() else ""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def type(self, keys: str) -> None:
        os.write(self._keyboard, keys.encode())

    def until(self, text: str, limit: float) -> None:
        """Wait until it has printed `text`. Raises TimeoutError, also where it ends before."""
        deadline = time.monotonic() + limit
        while text not in self.text:
            ended = self.process.poll()
            if time.monotonic() > deadline or ended is not None:
                raise TimeoutError(f"no {text!r} after {self.seconds:.0f} s (exit {ended}): {self.text[-1500:]}")
            time.sleep(0.2)

    def wait(self, limit: float) -> int:
        """Its exit code. Raises TimeoutError, and kills it, where it takes longer than `limit` seconds."""
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"still runs after {limit:.0f} s: {self.text[-1500:]}") from None
        self._reader.join(5)
        return code

    def kill(self) -> None:
        """End it and all it started on the laptop at once, as when the laptop's lid closes for good."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

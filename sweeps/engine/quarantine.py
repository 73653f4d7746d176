"""What is held against devices and hosts outlasts the driver: `health.json` in the study's folder."""

from __future__ import annotations

import json
from pathlib import Path

from analysis import storage
from sweeps.engine.health import Health

FILE = "health.json"


class Quarantine:
    """Keeps what `health` knows of its places; begins with what the driver before knew."""

    def __init__(self, folder: Path, health: Health) -> None:
        self._folder, self._health = folder, health
        try:
            health.recall(json.loads(storage.read_file(folder, FILE) or b"[]"))
        except (ValueError, TypeError, KeyError):  # a damaged file: what is sick shows soon enough
            pass
        self._kept = health.kept()

    def keep(self) -> None:
        """Write it where it has changed."""
        if (kept := self._health.kept()) != self._kept:
            storage.write_file(self._folder, FILE, json.dumps(kept, indent=1).encode())
            self._kept = kept

"""The status of a study as JSON values, for other programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from sweeps.looking.picture import Picture
from sweeps.looking.status_text import cell_states


def status_facts(picture: Picture, price: float | None) -> dict[str, Any]:
    """Who drives, how far it is, what it has cost, every cell, what is in flight, what failed. Null: not known."""
    driver = picture.driver
    facts = driver.facts if driver else {}
    done, total = facts.get("counts") or (None, None)
    price = driver.price if price is None and driver is not None else price
    failed = picture.ended[picture.ended["status"].isin(("failed", "diverged"))]
    return {
        "study": picture.name,
        "task": picture.task or "classification",
        "folder": picture.folder,
        "damaged": picture.damaged or None,
        "driver": driver
        and {"host": driver.host, "pid": driver.pid, "alive": driver.alive, "beat": driver.beat.isoformat()}
        | {"ended": driver.ended or None, "slots": driver.slots, "command": driver.command},
        "runs_done": done,
        "runs": total,
        "seconds_left": facts.get("seconds_left") if driver is not None and driver.alive else None,
        "changed": list(facts.get("changed") or ()),
        "ended": dict(Counter(picture.ended["status"])),
        "paused": picture.paused,
        "device_hours": picture.hours,
        "money": None if price is None else picture.hours * price,
        "cells": [
            {"teacher": teacher, "student": student, "method": method, "state": state}
            for (teacher, student, method), state in cell_states(picture).items()
        ],
        "running": [{**asdict(run), "cell": list(run.cell)} for run in picture.running],
        "failed": failed[["run_id", "status", "failure_class", "message"]].to_dict("records"),
    }

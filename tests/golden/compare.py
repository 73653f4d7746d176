"""Whether a run gives what was recorded: to the bit on a CPU of a recorded kind, else within what rounding explains."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.golden.runs import Trace

TOLERANCE = {"fp32": 5e-4, "bf16": 5e-2}
"""Of losses on another CPU, relative. Between AVX-512, AVX2 and no vectors they move by 8e-5 at most in fp32, by 2e-2
in bf16; a rate of 0.9 times itself moves each of them by 6e-4 to 2e-2 (`docs/evidence/2026-11-27-numbers.md`)."""
UNSTABLE = (
    "rkd cnn bf16",
    "rsd cnn bf16",
    "fbt cnn fp32",
    "scratch detection fp32",
    "pat detection fp32",
    "pat segmentation fp32",
)
"""Distances between features that bf16 rounds to one value; correlations over sixteen of them (5.6e-2 on an AMD CPU);
the contrast of FBT's assistant of a CNN (4e-3 with AVX2 alone); proposals, of which rounding chooses others; BatchNorm
over two images (3e-3 without vectors). On another CPU these losses say nothing."""

ADVICE = """\
the same configuration gives other numbers than before.
  Not meant: it is a bug.
  Meant: raise NUMERICS in pat/config.py, add a line "Numerics version N: ..." to CHANGELOG.md that says which
  configurations give other numbers and why, and record anew: python -m tests.golden"""


def differences(name: str, found: Trace, recorded: Mapping[str, Any], machine: str) -> list[str]:
    """What has moved, a line each; none where all is as recorded."""
    exact = recorded["digests"].get(machine)
    if exact is not None:
        if found.digest == exact:
            return []
        moved = list(_moved(found, recorded, 0.0))
        return [
            f"{name}: {line} (to the bit, on this kind of CPU)" for line in moved or ["the student's weights moved"]
        ]
    if name in UNSTABLE:
        return []
    return [f"{name}: {line}" for line in _moved(found, recorded, TOLERANCE[name.split()[-1]])]


def _moved(found: Trace, recorded: Mapping[str, Any], tolerance: float) -> Iterator[str]:
    """Lines for what differs by more than the tolerance. Accuracies count images: compared to the bit or not at all."""
    steps = list(zip(recorded["losses"], found.losses, strict=False))
    if len(recorded["losses"]) != len(found.losses):
        yield f"{len(recorded['losses'])} steps were recorded, {len(found.losses)} are made"
    for step, (before, now) in enumerate(steps, start=1):
        if not _near(before, now, tolerance, before):
            yield f"the loss of step {step} was {before:.9g}, is {now:.9g}"
            break
    for before, now in zip(recorded["history"], found.history, strict=False):
        scale = before["train_loss"]
        old, new = _flat(before), _flat(now)
        for key in sorted(old.keys() | new.keys()):
            if tolerance and ("score" in key or "top1" in key):
                continue
            allowed = tolerance if "loss" in key or key.startswith("part ") else 0.0
            if not _near(old.get(key), new.get(key), allowed, scale):
                yield f"{key} of epoch {before['epoch']} was {old.get(key)}, is {new.get(key)}"


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the history with the named parts of its loss beside the rest, in JSON's numbers."""
    values: dict[str, Any] = json.loads(json.dumps(row))
    return {**{f"part {key}": value for key, value in values.pop("parts").items()}, **values}


def _near(before: float | None, now: float | None, tolerance: float, scale: float) -> bool:
    if before is None or now is None:
        return before is now
    both_nan = before != before and now != now
    return both_nan or before == now or abs(before - now) <= tolerance * max(abs(before), abs(scale))

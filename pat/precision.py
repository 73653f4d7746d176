"""What bf16 costs on a CPU: one without instructions for it computes in it by other means, many times as slowly."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from torch import nn

SECONDS = 0.4
"""For each of the two precisions."""
SLOWER = 1.3
"""From so many times the time of fp32 on it is said."""


class Times(NamedTuple):
    """Seconds of the same few layers, forward and backward, in each precision."""

    fp32: float
    bf16: float


def measured(seconds: float = SECONDS) -> Times:
    """On this CPU with torch's present number of threads: the fastest of as many as there is time for, at least two."""
    with torch.random.fork_rng(devices=[]):
        layers = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.GELU(), nn.Flatten(2), nn.Linear(256, 256))
        images = torch.randn(16, 32, 16, 16)
    best = []
    for bf16 in (False, True):
        times, begun = list[float](), time.perf_counter()
        while len(times) < 2 or time.perf_counter() - begun < seconds:
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = layers(images).float().square().mean()
            loss.backward()
            times.append(time.perf_counter() - start)
        best.append(min(times))
    return Times(*best)


def slow_bf16(precision: str, times: Times | None = None) -> str:
    """One line where a recipe's precision is slower than fp32 on this CPU; else nothing. Takes a second for bf16."""
    if precision != "bf16":
        return ""
    found = times or measured()
    if found.bf16 < SLOWER * found.fp32:
        return ""
    took = f"{found.bf16 * 1e3:.3g} ms against {found.fp32 * 1e3:.3g} ms for the same layers"
    return (
        f"warning: recipe.precision = 'bf16': this CPU takes {found.bf16 / found.fp32:.1f} times as long as for fp32 "
        f"({took}); 'fp32' is another recipe, with runs of its own"
    )

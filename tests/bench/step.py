"""Time of a PAT step against floor A (its models' arithmetic) and floor B (A + its own blocks, timed apart)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from tests.bench.pairs import PAIRS, take_apart

BATCH, ROUNDS = 4, 5


def seconds(call: Callable[[], Any]) -> float:
    """CPU time of a call on one thread, which other programs on the machine lengthen less than time."""
    start = time.process_time()
    call()
    return time.process_time() - start


def report() -> None:
    """Prints the median of ratios over interleaved rounds; the first round warms up."""
    torch.set_num_threads(1)
    print(f"forward + backward, batch {BATCH}, fp32, 1 thread, median (min - max) of {ROUNDS} interleaved rounds")
    print("                           PAT step   / floor A               / floor B               target <= 1.03")
    for teacher, student in PAIRS:
        _, pieces = take_apart(teacher, student, BATCH)
        rounds = []
        for number in range(ROUNDS + 1):
            floor_a = sum(seconds(piece) for piece in pieces.floor_a())
            step = seconds(pieces.step)
            floor_b = floor_a + seconds(pieces.blocks)
            if number:
                rounds.append((step, step / floor_a, step / floor_b))
        steps, over_a, over_b = zip(*rounds, strict=True)
        print(
            f"{teacher.split('_')[0] + ' -> ' + student.split('_')[0]:24} {statistics.median(steps):8.2f} s   "
            f"{spread(over_a)}      {spread(over_b)}"
        )


def spread(values: tuple[float, ...]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} - {max(values):.3f})"

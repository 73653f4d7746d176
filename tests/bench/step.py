"""Time of a PAT step against floor A (its models' arithmetic) and floor B (A + its own blocks, timed apart)."""

from __future__ import annotations

from statistics import median

import torch

from tests.bench.clock import interleaved, spread
from tests.bench.compare import Tolerance
from tests.bench.pairs import PAIRS, short, take_apart

BATCH, ROUNDS = 2, 11
TOLERANCE = Tolerance(0.2)
"""Medians differed by up to 10 % between runs on two busy cores, and between AVX-512 and AVX2 by up to 6 % (floor A of
Mixer by 18 %). What makes the blocks dearer shows over floor A alone: floor B holds the same blocks."""


def report() -> dict[str, float]:
    """Prints and gives the median of ratios over interleaved rounds."""
    torch.set_num_threads(1)
    print(f"forward + backward, batch {BATCH}, fp32, 1 thread, median (min - max) of {ROUNDS} interleaved rounds")
    print("                           PAT step   / floor A               / floor B               target <= 1.03")
    ratios = {}
    for teacher, student in PAIRS:
        _, pieces = take_apart(teacher, student, BATCH)
        floor = {f"floor {number}": piece for number, piece in enumerate(pieces.floor_a())}
        times = interleaved({**floor, "blocks": pieces.blocks, "step": pieces.step}, ROUNDS)
        floors_a = [sum(each) for each in zip(*(times[name] for name in floor), strict=True)]
        floors_b = [floor_a + blocks for floor_a, blocks in zip(floors_a, times["blocks"], strict=True)]
        over_a, over_b = (
            [step / each for step, each in zip(times["step"], floors, strict=True)] for floors in (floors_a, floors_b)
        )
        pair = short(teacher, student)
        print(f"{pair:24} {median(times['step']):8.2f} s   {spread(over_a)}      {spread(over_b)}", flush=True)
        ratios |= {f"{pair}/over floor A": median(over_a), f"{pair}/over floor B": median(over_b)}
    return ratios

"""What PAT's step costs beside one that does not say what the prompts did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from unittest.mock import patch

import torch
from torch import Tensor

from pat.targets import Compared
from sweeps.presets import preset
from tests.bench.clock import interleaved, spread
from tests.bench.compare import Tolerance
from tests.bench.methods import step
from tests.bench.pairs import PAIRS, short, take_apart

ROUNDS, ROUNDS_224, BATCH_224 = 15, 3, 2
TOLERANCE = Tolerance(0.1)
"""Recorded on two cores with thirty busy processes, where single rounds lay between 0.75 and 1.43."""


def report() -> dict[str, float]:
    """Prints and gives the ratio of a step with to one without diagnostics, medians of rounds that take turns."""
    torch.set_num_threads(1)
    study = preset("cifar100-small-methods")
    print(f"PAT's forward + backward over the same without diagnostics, 1 thread; at 224 px batch {BATCH_224}")
    ratios = {}
    for teacher, student in study.pairs:
        one, other = (step("pat", student, teacher, study.options.get("pat", {})) for _ in range(2))
        ratios[f"{teacher} -> {student}"] = _ratio(f"{teacher} -> {student}", one, other, ROUNDS)
    teacher, student = PAIRS[1]
    one, other = (take_apart(teacher, student, BATCH_224)[1].step for _ in range(2))
    ratios["224 px"] = _ratio(f"{short(teacher, student)} at 224 px", one, other, ROUNDS_224)
    return ratios


def _ratio(name: str, told: Callable[[], None], other: Callable[[], None], rounds: int) -> float:
    def untold() -> None:
        with patch("pat.methods.pat.compare", _uncompared):
            other()

    times = interleaved({"told": told, "untold": untold}, rounds)
    over = [one / each for one, each in zip(times["told"], times["untold"], strict=True)]
    print(f"  {name:44} {1e3 * median(times['untold']):7.1f} ms   {spread(over)}", flush=True)
    return median(over)


def _uncompared(student: Sequence[Tensor], prompted: Sequence[Tensor], *_: object, **__: object) -> list[Compared]:
    nothing = torch.zeros(())
    return [Compared(*pair, nothing, nothing, nothing, nothing) for pair in zip(student, prompted, strict=True)]

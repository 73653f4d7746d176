"""Made-up studies of the size of papers' and larger, with known effects: what a report must find in them.

python -m tests.analysis.made_up twelve|grid FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.analysis.conftest import Study

Accuracy = Callable[[str, str, str, str, int], float]

TEN = ("kd", "fitnet", "cc", "rkd", "crd", "dkd", "dist", "ofa", "fbt", "pat")
TEACHERS = {
    "swin_tiny_patch4_window7_224": "vit",
    "vit_small_patch16_224": "vit",
    "mixer_b16_224": "mlp",
    "convnext_tiny": "cnn",
}
STUDENTS = {
    "resnet18": "cnn",
    "mobilenetv2_100": "cnn",
    "deit_tiny_patch16_224": "vit",
    "swin_pico_patch4_window7_224": "vit",
    "resmlp_12_224": "mlp",
}
EFFECTS = {
    "kd": 0.8, "fitnet": 0.6, "cc": 0.4, "rkd": 0.2, "crd": 1.2, "dkd": 1.0, "dist": 1.3, "ofa": 2.4, "fbt": 1.6,
    "pat": 3.2,
}  # fmt: skip


def twelve() -> Study:
    """The papers' 12 CIFAR-100 pairs, none within a family: ten methods of different worth, 3 seeds, 9 trials a cell; a
    cell has failed, one diverged, one seed is still to come; FitNet loses 25 points on one pair in five."""
    pairs = [(t, s) for s, family in STUDENTS.items() for t, own in TEACHERS.items() if own != family]
    pairs.remove(("vit_small_patch16_224", "resmlp_12_224"))
    states = {
        ("vit_small_patch16_224", "resnet18", "pat", "tuned"): ("failed", "CUDA out of memory"),
        ("mixer_b16_224", "mobilenetv2_100", "ofa", "tuned"): ("diverged", "loss became nan in epoch 3"),
        ("convnext_tiny", "resmlp_12_224", "crd", "tuned", 103): ("waiting", ""),
    }
    accuracy = effects(EFFECTS, 1.0, 0.4)
    return Study(
        pairs, TEACHERS | STUDENTS, accuracy, methods=TEN, trials=9, correct=True, data="cifar100", states=states,
        level=lambda teacher, student, method: accuracy(teacher, student, method, "tuned", 0),
    )  # fmt: skip


def grid(size: int = 14) -> Study:
    """Every teacher with every student, KD and PAT at their defaults, 2 seeds: the true gain is 2 in every cell."""
    kinds = ("cnn", "vit", "mlp")
    teachers = {f"teacher_{kinds[i % 3]}_{i:02d}": kinds[i % 3] for i in range(size)}
    students = {f"student_{kinds[i % 3]}_{i:02d}": kinds[i % 3] for i in range(size)}
    pairs = [(teacher, student) for teacher in teachers for student in students]
    accuracy = effects({"kd": 2.0, "pat": 2.0}, 0.0, 0.8)
    return Study(
        pairs, teachers | students, accuracy, settings=("default",), seeds=(101, 102), data="cifar100"
    )  # fmt: skip


def effects(worth: dict[str, float], of_pairs: float, noise: float) -> Accuracy:
    """Around a level of each student: a method's worth, what a pair adds to it (normal, sd `of_pairs`), and the noise
    of a run (sd `noise`), reproducible."""

    def accuracy(teacher: str, student: str, method: str, setting: str, seed: int) -> float:
        run = _rng(teacher, student, method, setting, str(seed)).normal(0, noise)
        level = 70 + _rng(student).uniform(-4, 4)
        if method == "scratch":
            return float(level + run)
        pair = of_pairs * (_rng(teacher, student).normal() + 0.5 * _rng(teacher, student, method).normal())
        lost = 25.0 if method == "fitnet" and of_pairs and _rng(teacher, student, "x").random() < 0.2 else 0.0
        default = 0.3 if setting == "default" and of_pairs else 0.0
        return float(level + worth[method] + pair - lost - default + run)

    return accuracy


def _rng(*names: str) -> np.random.Generator:
    return np.random.default_rng(list("|".join(names).encode()))


if __name__ == "__main__":
    {"twelve": twelve, "grid": grid}[sys.argv[1]]().write(Path(sys.argv[2]))

"""A synthetic study: its ledger as the planner and the runs would write it, with known accuracies."""

from __future__ import annotations

import datetime
import hashlib
import json
import unittest.mock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.ledger import write_epochs, write_matrix, write_run
from analysis.schema import MATRIX_SCHEMA, RESULT_COLUMNS, RUN_SCHEMA

Cell = tuple[str, str, str, str]
TEACHERS = {"cnn": "resnet_tiny", "vit": "vit_mini", "mlp": "mixer_mini"}
STUDENTS = {"cnn": "resnet_nano", "vit": "vit_nano", "mlp": "mixer_nano"}


def run_row(run_id: str, **values: Any) -> dict[str, Any]:
    """A complete run row: nulls but for what must not be null, and what is given."""
    row = dict.fromkeys(RUN_SCHEMA.names)
    row |= {"run_id": run_id, "study": "synthetic", "status": "finished", "phase": "confirm", "teacher": ""}
    row |= {"method": "kd", "student": "resnet_nano", "options": "{}", "seed": 0, "data": "digits"}
    row |= {"epochs": 4, "epochs_done": 4, "config": "{}", "teacher_top1": 95.0}
    row |= {"test_images": 360, "seconds": 10.0, "retries": 0, "workers": 1}
    return row | {"started": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)} | values


def epoch_rows(run_id: str, final: float, epochs: int = 4) -> list[dict[str, Any]]:
    """Epochs whose validation accuracy rises to `final`."""
    rows = []
    for epoch in range(1, epochs + 1):
        accuracy = final * (1 - 0.6 ** (epoch * 8 / epochs))
        row = {"run_id": run_id, "epoch": epoch, "lr": 0.1, "train_loss": 1 / epoch, "seconds": 1.0}
        row |= {"val_loss_raw": 1.0, "val_top1_raw": accuracy, "val_loss_ema": None, "val_top1_ema": None}
        row |= {"test_top1_raw": accuracy - 1, "test_top1_ema": None, "parts": '{"ce": 1.0}', "options": "{}"}
        rows.append(row)
    return rows


@dataclass
class Study:
    """What to write. `accuracy(teacher, student, method, setting, seed)` is the test accuracy of a run in percent;
    `states` gives cells, or one seed of a cell, another status than finished with its reason."""

    pairs: Sequence[tuple[str, str]]
    families: Mapping[str, str]
    accuracy: Callable[[str, str, str, str, int], float]
    methods: Sequence[str] = ("kd", "pat")
    settings: Sequence[str] = ("default", "tuned")
    seeds: Sequence[int] = (101, 102, 103)
    data: str = "digits"
    epochs: int = 4
    states: Mapping[tuple[Any, ...], tuple[str, str]] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """The ledger of this study in `folder`; what is synthetic need not survive a power cut."""
        with unittest.mock.patch("os.fsync"):
            return self._write(folder)

    def _write(self, folder: Path) -> Path:
        rows = []
        for student in dict.fromkeys(student for _, student in self.pairs):
            rows += [self._row(folder, "", student, "scratch", "scratch", seed) for seed in self.seeds]
        for teacher, student in self.pairs:
            for method in self.methods:
                for setting in self.settings:
                    rows += [self._row(folder, teacher, student, method, setting, seed) for seed in self.seeds]
        write_matrix(folder, rows)
        return folder

    def _row(self, folder: Path, teacher: str, student: str, method: str, setting: str, seed: int) -> dict[str, Any]:
        cell = (teacher, student, method, setting)
        status, reason = self.states.get((*cell, seed), self.states.get(cell, ("finished", "")))
        run_id = hashlib.sha256(json.dumps([*cell, seed]).encode()).hexdigest()[:16]
        options = json.dumps({"weight": 1.0 if setting == "default" else 2.0})
        row = dict.fromkeys(MATRIX_SCHEMA.names) | {"study": "synthetic", "data": self.data, "seed": seed}
        row |= {"teacher": teacher, "student": student, "method": method, "setting": setting, "options": options}
        row |= {"teacher_family": self.families.get(teacher), "student_family": self.families[student]}
        row |= {"status": status, "reason": reason, "rule": "last", "weights": "raw"}
        if status not in ("finished", "diverged", "failed"):
            return row
        last = self.accuracy(teacher, student, method, setting, seed)
        results: dict[str, Any] = dict.fromkeys(RESULT_COLUMNS, last) | {"test_best_test_raw": last + 0.5}
        if status != "finished":
            results = {"failure_class": "bug" if status == "failed" else status, "message": reason}
        keys = {"teacher": teacher, "student": student, "method": method, "options": options, "seed": seed}
        keys["status"] = status
        phase = "scratch" if setting == "scratch" else "confirm"
        write_run(folder, run_row(run_id, **keys, data=self.data, phase=phase, **results))
        write_epochs(folder, run_id, epoch_rows(run_id, last, self.epochs))
        return row | {"run_id": run_id}


def noisy(gains: Mapping[str, float], spread: float = 0.8) -> Callable[[str, str, str, str, int], float]:
    """Accuracies around 85 % plus the method's gain, with a reproducible draw for each run and each pair."""

    def accuracy(teacher: str, student: str, method: str, setting: str, seed: int) -> float:
        digest = hashlib.sha256(f"{teacher}{student}{method}{setting}{seed}".encode()).digest()
        pair = np.random.default_rng(list(hashlib.sha256(f"{teacher}{student}{method}".encode()).digest()))
        draw = np.random.default_rng(list(digest)).normal(0, spread)
        shift = 0.0 if method == "scratch" else pair.normal(0, 1.2)
        return 85 + gains.get(method, 0) + shift + (0.4 if setting == "tuned" else 0) + draw

    return accuracy


def square(families: Sequence[str] = ("cnn", "vit", "mlp"), **values: Any) -> Study:
    """Every teacher with every student of these families."""
    pairs = [(TEACHERS[t], STUDENTS[s]) for t in families for s in families]
    names = {TEACHERS[f]: f for f in families} | {STUDENTS[f]: f for f in families}
    return Study(pairs, names, values.pop("accuracy", noisy({"kd": 0.5, "pat": 1.5})), **values)


LONG_TEACHERS = {
    "swin_tiny_patch4_window7_224": "vit",
    "vit_small_patch16_224": "vit",
    "mixer_b16_224": "mlp",
    "convnext_tiny": "cnn",
}
LONG_STUDENTS = {
    "resnet18": "cnn",
    "mobilenetv2_100": "cnn",
    "deit_tiny_patch16_224": "vit",
    "swin_pico_patch4_window7_224": "vit",
    "resmlp_12_224": "mlp",
}


def twelve_of_twenty(**values: Any) -> Study:
    """The published shape: four teachers, five students, 12 of their 20 pairs, long timm names."""
    pairs = [
        (teacher, student)
        for i, teacher in enumerate(LONG_TEACHERS)
        for j, student in enumerate(LONG_STUDENTS)
        if (i + j) % 5 not in (1, 3)
    ]
    accuracy = noisy({"kd": 0.8, "pat": 2.5}, 0.4)
    return Study(pairs, LONG_TEACHERS | LONG_STUDENTS, accuracy, data="cifar100", **values)


@pytest.fixture(scope="session")
def make_square() -> Callable[..., Study]:
    return square


@pytest.fixture(scope="session")
def make_twelve() -> Callable[..., Study]:
    return twelve_of_twenty


@pytest.fixture(scope="session")
def make_run() -> Callable[..., dict[str, Any]]:
    return run_row


@pytest.fixture(scope="session")
def make_epochs() -> Callable[..., list[dict[str, Any]]]:
    return epoch_rows

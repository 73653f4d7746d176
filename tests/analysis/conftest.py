"""A synthetic study: its ledger as the planner and the runs would write it, with known accuracies."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import unittest.mock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.frames import Frames
from analysis.ledger import write_epochs, write_matrix, write_run
from analysis.schema import FROM, MATRIX_SCHEMA, RESULT_COLUMNS, RUN_SCHEMA, phase_of
from analysis.storage import write_file
from tests.analysis import halves

Cell = tuple[str, str, str, str]
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
TEACHERS = {"cnn": "resnet_tiny", "vit": "vit_mini", "mlp": "mixer_mini"}
STUDENTS = {"cnn": "resnet_nano", "vit": "vit_nano", "mlp": "mixer_nano"}


def run_row(run_id: str, **values: Any) -> dict[str, Any]:
    """A complete run row: nulls but for what must not be null, and what is given."""
    row = dict.fromkeys(RUN_SCHEMA.names)
    row |= {"run_id": run_id, "study": "synthetic", "status": "finished", "phase": "confirm", "teacher": ""}
    row |= {"method": "kd", "student": "resnet_nano", "options": "{}", "seed": 0, "data": "digits"}
    row |= {"task": "classification", "metric": "top1"}
    row |= {"epochs": 4, "epochs_done": 4, "config": "{}", "teacher_score": 95.0}
    row |= {"test_images": 360, "seconds": 10.0, "retries": 0, "workers": 1}
    return row | {"started": START} | values


def epoch_rows(run_id: str, final: float, epochs: int = 4) -> list[dict[str, Any]]:
    """Epochs whose validation accuracy rises to `final`."""
    rows = []
    for epoch in range(1, epochs + 1):
        accuracy = final * (1 - 0.6 ** (epoch * 8 / epochs))
        row = {"run_id": run_id, "epoch": epoch, "lr": 0.1, "train_loss": 1 / epoch, "seconds": 1.0}
        row |= {"val_loss_raw": 1.0, "val_score_raw": accuracy, "val_loss_ema": None, "val_score_ema": None}
        row |= {"test_score_raw": accuracy - 1, "test_score_ema": None, "parts": '{"ce": 1.0}', "options": "{}"}
        rows.append(row)
    return rows


@dataclass
class Study:
    """What to write. `accuracy(teacher, student, method, setting, seed)` is the test accuracy of a run in percent;
    `states` gives cells, or one seed of a cell, another status than finished with its reason. `trials` runs search each
    cell: the first is the default, every third is pruned, the sixth of a cell has failed. With `correct` runs record
    which of their 360 test images they had right, as many as their accuracy says. `details`: how far each further score
    lies above the score itself. `level`: of the scores of a cell's search. `exchange`: pair -> those whose best
    settings are tried in its cells, as the setting `from TEACHER:STUDENT`."""

    pairs: Sequence[tuple[str, str]]
    families: Mapping[str, str]
    accuracy: Callable[[str, str, str, str, int], float]
    methods: Sequence[str] = ("kd", "pat")
    settings: Sequence[str] = ("default", "tuned")
    seeds: Sequence[int] = (101, 102, 103)
    data: str = "digits"
    epochs: int = 4
    trials: int = 0
    correct: bool = False
    metric: str = "top1"
    details: Mapping[str, float] = field(default_factory=dict)
    level: Callable[[str, str, str], float] = lambda teacher, student, method: 84.0
    states: Mapping[tuple[Any, ...], tuple[str, str]] = field(default_factory=dict)
    exchange: Mapping[tuple[str, str], Sequence[tuple[str, str]]] = field(default_factory=dict)

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
                tried = [f"{FROM}{':'.join(pair)}" for pair in self.exchange.get((teacher, student), ())]
                for setting in (*self.settings, *tried):
                    rows += [self._row(folder, teacher, student, method, setting, seed) for seed in self.seeds]
        for teacher, student in self.pairs if self.trials else ():
            for method in self.methods:
                self._search(folder, teacher, student, method)
        write_matrix(folder, rows)
        search = {"trials": self.trials, "wave": 4, "eta": 2, "rungs": [0.5, 1.0]}
        write_file(folder, "study.json", json.dumps({"name": "synthetic", "search": search}).encode())
        return folder

    def _row(self, folder: Path, teacher: str, student: str, method: str, setting: str, seed: int) -> dict[str, Any]:
        cell = (teacher, student, method, setting)
        status, reason = self.states.get((*cell, seed), self.states.get(cell, ("finished", "")))
        run_id = hashlib.sha256(json.dumps([*cell, seed]).encode()).hexdigest()[:16]
        options = json.dumps({"weight": 1.0 if setting == "default" else 2.0})
        row = dict.fromkeys(MATRIX_SCHEMA.names) | {"study": "synthetic", "data": self.data, "seed": seed}
        row["metric"] = self.metric
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
        keys |= {"teacher_family": self.families.get(teacher), "student_family": self.families[student]}
        if self.correct and status == "finished":
            results["test_correct_last_raw"] = bits(run_id, last)
        if self.details and status == "finished":
            further = {name: last + above for name, above in self.details.items()}
            results["details"] = json.dumps({"last_raw": further, "best_val_raw": dict.fromkeys(further, 0.0)})
        keys["metric"] = self.metric
        write_run(folder, run_row(run_id, **keys, data=self.data, phase=phase_of(setting), **results))
        write_epochs(folder, run_id, epoch_rows(run_id, last, self.epochs))
        return row | {"run_id": run_id}

    def _search(self, folder: Path, teacher: str, student: str, method: str) -> None:
        """The search of one cell: the nearer to the best weight of its pair, the better."""
        best = 10 ** np.random.default_rng(list(f"{teacher}{student}".encode())).uniform(-1, 1)
        draw = np.random.default_rng(list(f"{teacher}{student}{method}".encode()))
        for trial in range(self.trials):
            options = {"prompt_depth": int(draw.integers(0, 5)), "regions": int(draw.choice([16, 36, 64]))}
            options |= {"feature_weight": float(np.round(10 ** draw.uniform(-2, 2), 4)), "kd_weight": 1.0}
            options = (
                {"prompt_depth": 4, "regions": 64, "feature_weight": 1.0, "kd_weight": 1.0} if not trial else options
            )
            score = (
                self.level(teacher, student, method)
                - 2 * abs(np.log10(options["feature_weight"] / best))
                + 0.3 * options["prompt_depth"]
            )
            run_id = hashlib.sha256(json.dumps(["search", teacher, student, method, trial]).encode()).hexdigest()[:16]
            status = "failed" if trial == 5 else "pruned" if trial % 3 == 2 else "finished"
            done = self.epochs // 2 if status == "pruned" else self.epochs
            keys = {"teacher": teacher, "student": student, "method": method, "options": json.dumps(options)}
            keys |= {"teacher_family": self.families.get(teacher), "student_family": self.families[student]}
            keys |= {"status": status, "phase": "search", "trial": trial, "data": self.data, "epochs_done": done}
            keys |= {"failure_class": "bug", "message": "ValueError: synthetic"} if status == "failed" else {}
            keys["metric"] = self.metric
            keys["started"] = START + datetime.timedelta(minutes=trial)
            write_run(folder, run_row(run_id, **keys, seconds=2.5 * done))
            write_epochs(folder, run_id, epoch_rows(run_id, score, self.epochs)[:done])


def bits(run_id: str, accuracy: float, images: int = 360) -> bytes:
    """Which images are right, packed: harder images are rarely right in any run; as many as `accuracy` percent says."""
    own = np.random.default_rng(list(run_id.encode()))
    hard = np.random.default_rng(0).normal(size=images) + own.normal(size=images)
    right = np.zeros(images, bool)
    right[np.argsort(hard)[: round(images * accuracy / 100)]] = True
    return np.packbits(right).tobytes()


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


@pytest.fixture
def ledgers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a ledger: `runs` name what each run is to be; see `halves.write`."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)

    def make(name: str, runs: dict[str, dict[str, Any]], /, **changes: Any) -> Path:
        folder = tmp_path / name
        write_file(folder, "study.json", json.dumps({**halves.STUDY, **changes}).encode())
        for run_id, values in runs.items():
            halves.write(folder, run_id, run_row, epoch_rows, **values)
        return folder

    return make


def given_table(monkeypatch: pytest.MonkeyPatch, name: str, table: pd.DataFrame) -> None:
    """A table of all frames is this one."""
    whole = Frames.table
    monkeypatch.setattr(Frames, "table", lambda frames, asked: table if asked == name else whole(frames, asked))

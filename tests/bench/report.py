"""The report of a large study: 20,000 runs, 1,000,000 epochs, 500 cells, each with its limit in seconds and memory.

    python -m tests.bench report

The ledger is made up (in the temporary folder, about 900 MB on disk, removed afterwards), and gathered as its driver
would have done; the report is then written in a fresh process by the ordinary command, `python -m analysis report`: as
the driver leaves the study, and once more without what was gathered.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest.mock
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from analysis.bulk import KEPT
from analysis.ledger import gather, write_epochs, write_matrix, write_run
from analysis.schema import MATRIX_SCHEMA, RESULT_COLUMNS, RUN_SCHEMA
from analysis.storage import write_file
from tests.bench.compare import Tolerance

TEACHERS = {
    "convnext_tiny": "cnn",
    "resnet50": "cnn",
    "swin_tiny_patch4_window7_224": "vit",
    "vit_small_patch16_224": "vit",
    "mixer_b16_224": "mlp",
}
STUDENTS = {
    "resnet18": "cnn",
    "mobilenetv2_100": "cnn",
    "deit_tiny_patch16_224": "vit",
    "swin_pico_patch4_window7_224": "vit",
    "resmlp_12_224": "mlp",
}
METHODS = ("kd", "fitnet", "cc", "rkd", "crd", "dkd", "dist", "ofa", "pat", "fbt")
SEEDS, TRIALS, EPOCHS, IMAGES = (1, 2, 3), 74, 50, 10_000
TOLERANCE = Tolerance(0.3)
"""Figures and page took 140 s of a CPU on a quiet machine, 139 s at load 3; reading also depends on the file system."""
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def write_study(folder: Path) -> None:
    """25 pairs x 10 methods, tuned and default on three seeds after 74 trials each: 20,015 runs of 50 epochs."""
    rng = np.random.default_rng(0)
    matrix = []
    with unittest.mock.patch("os.fsync"):
        for number, (row, cell) in enumerate(_rows()):
            run_id = hashlib.sha256(json.dumps(cell).encode()).hexdigest()[:16]
            accuracy = 70 + 5 * rng.random() + (0.5 if row["method"] != "scratch" else 0)
            _write_run(folder, rng, run_id, row, accuracy, number)
            if "setting" in row:
                matrix.append(_matrix_row(row, run_id))
        write_matrix(folder, matrix)
        search = {"trials": TRIALS, "wave": 8, "eta": 3, "rungs": [0.2, 1.0], "failures": 3}
        write_file(folder, "study.json", json.dumps({"name": "bench", "search": search}).encode())


def _rows() -> Iterator[tuple[dict[str, Any], list[Any]]]:
    for student in STUDENTS:
        for seed in SEEDS:
            yield (
                {"teacher": "", "student": student, "method": "scratch", "setting": "scratch", "seed": seed},
                [student, seed],
            )
    for teacher in TEACHERS:
        for student in STUDENTS:
            for method in METHODS:
                cell = {"teacher": teacher, "student": student, "method": method}
                for setting in ("default", "tuned"):
                    for seed in SEEDS:
                        yield {**cell, "setting": setting, "seed": seed}, [*cell.values(), setting, seed]
                for trial in range(TRIALS):
                    yield {**cell, "seed": 0, "trial": trial}, [*cell.values(), "search", trial]


def _matrix_row(row: dict[str, Any], run_id: str) -> dict[str, Any]:
    families = {"teacher_family": TEACHERS.get(row["teacher"]), "student_family": STUDENTS[row["student"]]}
    facts = {
        "study": "bench",
        "data": "cifar100",
        "metric": "top1",
        "status": "finished",
        "rule": "last",
        "weights": "ema",
        "reason": "",
    }
    return dict.fromkeys(MATRIX_SCHEMA.names) | facts | families | row | {"run_id": run_id, "options": "{}"}


def _write_run(
    folder: Path, rng: np.random.Generator, run_id: str, row: dict[str, Any], accuracy: float, number: int
) -> None:
    trial = row.get("trial")
    pruned = trial is not None and trial % 4 != 0
    options = {"prompt_depth": int(rng.integers(0, 5)), "regions": int(rng.choice([16, 64])),
               "feature_weight": float(np.round(10 ** rng.uniform(-2, 2), 4)),
               "kd_weight": float(np.round(10 ** rng.uniform(-2, 2), 4))}  # fmt: skip
    text = json.dumps(options if trial else {"prompt_depth": 4, "regions": 64, "feature_weight": 1.0, "kd_weight": 1.0})
    phase = "search" if trial is not None else row["setting"] if row["method"] == "scratch" else "confirm"
    run = dict.fromkeys(RUN_SCHEMA.names) | dict.fromkeys(RESULT_COLUMNS, None if pruned else accuracy)
    run |= {"run_id": run_id, "study": "bench", "status": "pruned" if pruned else "finished", "phase": phase}
    run |= {name: row.get(name) for name in ("teacher", "student", "method", "seed", "trial")} | {"options": text}
    run |= {"teacher_family": TEACHERS.get(row["teacher"]), "student_family": STUDENTS[row["student"]]}
    run |= {
        "data": "cifar100",
        "task": "classification",
        "metric": "top1",
        "epochs": EPOCHS,
        "epochs_done": EPOCHS,
        "config": json.dumps({"recipe": {"epochs": EPOCHS}} | row),
    }
    run |= {
        "test_images": IMAGES,
        "seconds": 3600.0,
        "workers": 1,
        "retries": 0,
        "preemptions": 0,
        "device": "NVIDIA A100",
    }
    run |= {
        "started": START + datetime.timedelta(seconds=number),
        "ended": START + datetime.timedelta(seconds=number + 3600),
    }
    if not pruned:
        run["test_correct_last_ema"] = np.packbits(rng.random(IMAGES) < accuracy / 100).tobytes()
    write_run(folder, run)
    curve = accuracy * (1 - 0.9 ** np.arange(1, EPOCHS + 1))
    empty = {"run_id": run_id, "lr": 0.1, "train_loss": 1.0, "val_loss_raw": 1.0, "val_loss_ema": 1.0, "seconds": 72.0}
    empty |= {"parts": '{"ce": 1.0, "kd": 0.5}', "options": text}
    names = ("val_score_raw", "val_score_ema", "test_score_raw", "test_score_ema")
    write_epochs(
        folder, run_id, [{**empty, "epoch": e + 1, **dict.fromkeys(names, float(v))} for e, v in enumerate(curve)]
    )


def report() -> dict[str, float]:
    """Seconds, resident memory of the largest process and sizes of `python -m analysis report` on that study.

    The ratios are of CPU time; gathering saves what the tables cost less than with every file opened anew.
    """
    place = Path(tempfile.mkdtemp(prefix="report-"))
    try:
        start = time.monotonic()
        # Elsewhere: what this process holds at its height would count as its children's.
        subprocess.run([sys.executable, "-m", "tests.bench.report", str(place)], check=True)
        print(f"a study of 20,015 runs and 1,000,750 epochs, made in {time.monotonic() - start:.0f} s", flush=True)
        tables, everything = (_measure(place, parts) for parts in (["--tables"], []))
        shutil.rmtree(place / KEPT)
        print("every file opened anew:", flush=True)
        anew = _measure(place, ["--tables"])
    finally:
        shutil.rmtree(place)
    return {"tables, gathered over anew": tables / anew, "figures and page too, over tables": everything / tables}


def _measure(place: Path, parts: list[str]) -> float:
    """Prints what it takes; gives seconds of a CPU."""
    start, began = time.monotonic(), time.time()
    process = subprocess.Popen(
        [sys.executable, "-m", "analysis", "report", str(place), *parts], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds, page = time.monotonic() - start, place / "report" / "index.html"
    there = page.stat() if not parts else None
    size = f", page of {there.st_size / 1e6:.1f} MB there after {there.st_mtime - began:.1f} s" if there else ""
    what = "tables alone" if parts else "tables, figures and page"
    code, busy = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
    memory = usage.ru_maxrss / 1e6
    print(f"{what}: {seconds:.1f} s ({busy:.1f} s of a CPU), peak {memory:.2f} GB{size}, exit code {code}", flush=True)
    return busy if code == 0 else math.nan


if __name__ == "__main__":
    write_study(Path(sys.argv[1]))
    gather(sys.argv[1])

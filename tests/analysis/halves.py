"""Ledgers of one study that two clusters wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis import ledger, storage
from analysis.schema import MATRIX_SCHEMA

Make = Callable[..., Any]
STUDY: dict[str, Any] = {
    "name": "s",
    "data": {"name": "digits", "image_size": 32},
    "teachers": {"t": {"epochs": 4, "lr": 0.1}},
    "students": {"x": {"epochs": 4, "lr": 0.1}},
    "pairs": [["t", "x"]],
    "methods": ["kd"],
    "search": {"trials": 4, "wave": 4, "failures": 3},
    "anchors": [],
    "seeds": 2,
    "initial": {},
    "options": {},
    "choices": {},
    "spaces": {},
    "gpu_share": 1.0,
    "numerics": 3,
}


def write(folder: Path, run_id: str, make_run: Make, make_epochs: Make, epochs: int = 4, **values: Any) -> None:
    """A finished run; `status=None`: one on its way, with a checkpoint; `final`: the accuracy that it comes to."""
    final, status = values.pop("final", 90.0), values.pop("status", "finished")
    ledger.write_epochs(folder, run_id, make_epochs(run_id, final, 4)[:epochs])
    if status is None:
        storage.write_file(folder, f"runs/{run_id}/checkpoint.pt", f"checkpoint {epochs}".encode())
        storage.write_file(folder, f"runs/{run_id}/_where.json", b"{}")
        return
    if status == "finished":
        storage.write_file(folder, f"runs/{run_id}/student.safetensors", b"weights of " + run_id.encode())
    names = {"teacher": "t", "student": "x", "epochs_done": epochs, "test_last_raw": final, "status": status}
    ledger.write_run(folder, make_run(run_id, **names | values))


def matrix(folder: Path, *rows: tuple[str, int, str | None, str]) -> None:
    """Matrix rows of (setting, seed, run_id, status)."""
    base = dict.fromkeys(MATRIX_SCHEMA.names) | {
        "study": "s",
        "data": "digits",
        "metric": "top1",
        "student": "x",
        "student_family": "cnn",
    }
    base |= {"rule": "last", "weights": "raw"}
    names = {"scratch": {"teacher": "", "method": "scratch"}}
    other = {"teacher": "t", "teacher_family": "cnn", "method": "kd"}
    ledger.write_matrix(
        folder,
        [
            base | names.get(setting, other) | {"setting": setting, "seed": seed, "run_id": run_id, "status": status}
            for setting, seed, run_id, status in rows
        ],
    )


def tree(folder: Path) -> dict[str, bytes]:
    """Every file that is not temporary."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("_"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

"""Studies of a few hand-written trials, for the tests of tables and figures of searches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.frames import Frames

FAMILIES = {"resnet_big": "cnn", "vit_big": "vit", "resnet_small": "cnn", "vit_small": "vit", "mixer_small": "mlp"}
Trial = tuple[Mapping[str, Any], float, str]


def study(cells: Mapping[tuple[str, str, str], Sequence[Trial]], defaults: Mapping[str, Any] | None = None) -> Frames:
    """The frames of searches: for each teacher, student and method its trials (options, score, status), in order.

    The matrix has a default setting for each cell: `defaults`, or options that none has tried.
    """
    matrix, runs, epochs = [], [], []
    for (teacher, student, method), trials in cells.items():
        cell = {"teacher": teacher, "student": student, "method": method}
        cell |= {
            "teacher_family": FAMILIES[teacher],
            "student_family": FAMILIES[student],
            "study": "s",
            "data": "digits",
            "metric": "top1",
        }
        default = {"setting": "default", "options": json.dumps(defaults or {"never": 1}), "weights": "raw"}
        matrix.append(cell | default | {"seed": 1, "run_id": None, "status": "waiting", "rule": "last"})
        for number, (options, score, status) in enumerate(trials):
            run_id = f"{teacher}-{student}-{method}-{number}"
            run = cell | {"run_id": run_id, "options": json.dumps(options), "status": status, "phase": "search"}
            run |= {"trial": number, "epochs_done": 1 if status == "pruned" else 2, "seconds": 3.0, "message": None}
            runs.append(run | {"started": pd.Timestamp("2026-01-01", tz="UTC")})
            epochs.append({"run_id": run_id, "epoch": 1, "val_score_raw": score, "val_score_ema": None, "seconds": 1.5})
    return Frames(pd.DataFrame(matrix), pd.DataFrame(runs), pd.DataFrame(epochs), {}, {"search": {"wave": 2}})

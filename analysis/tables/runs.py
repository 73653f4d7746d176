"""Every run that has ended, as the ledger has it, without the bits of its test images."""

from __future__ import annotations

import pandas as pd

from analysis.frames import Frames
from analysis.schema import CORRECT_COLUMNS, RESULT_COLUMNS, RUN_SCHEMA
from analysis.tables import Columns, register_table

_ABOUT = {
    "run_id": "hash of the complete configuration; the run's folder is runs/<run_id>",
    "study": "name of the study",
    "status": "finished, pruned, diverged or failed",
    "phase": "teacher, pretrain, scratch, search, confirm or exchange (a setting of another cell)",
    "teacher": "timm name; empty without one",
    "teacher_weights": "what identifies the teacher's weights",
    "teacher_family": "cnn, vit or mlp",
    "student": "timm name of what was trained",
    "student_family": "cnn, vit or mlp",
    "method": "how it was distilled",
    "options": "the method's options, JSON",
    "seed": "seed of initial weights, batch order and views",
    "trial": "place of a search run among its cell's settings, from 0; empty in runs of schema versions 1 and 2",
    "data": "data set",
    "task": "what was learnt",
    "metric": "what its scores are",
    "epochs": "epochs of the whole run",
    "epochs_done": "epochs it has done",
    "config": "the canonical configuration, JSON",
    "test_images": "images of the test set",
    "skipped_images": "unreadable images that were left out",
    "details": "further test scores, percent, by rule and weights, JSON",
    "memory_measures": "what was done after memory had run out",
    "exported": "which weights the student's file holds",
    "initial_sha256": "SHA-256 of the file of weights it started from; empty without one",
    "student_sha256": "SHA-256 of the student's file",
    "student_params": "parameters of the student",
    "extra_params": "parameters that only training needs",
    "teacher_sha256": "SHA-256 of the teacher's bytes",
    "teacher_score": "the teacher's test {plain}, percent",
    "seconds": "time of its epochs, s",
    "energy_joules": "energy, J",
    "peak_memory": "peak of the device's memory, bytes",
    "started": "UTC, begin of the last segment",
    "ended": "UTC",
    "retries": "processes it lost",
    "preemptions": "losses that do not count as retries",
    "workers": "processes that shared it",
    "threads": "threads of each",
    "host": "machine of the last segment",
    "device": "its device",
    "cpu": "its processor and instruction set",
    "torch": "version",
    "timm": "version",
    "pat_version": "version",
    "python": "version",
    "git_commit": "commit of the source tree",
    "failure_class": "oom, diverged, lost, data or bug",
    "message": "first line of the error",
}
_RULES = {"last": "last epoch", "best_val": "epoch best on validation", "best_test": "epoch best on test"}


def _columns() -> Columns:
    results = {}
    for name in RESULT_COLUMNS:
        split, rule, weights = name.split("_", 1)[0], name.split("_", 1)[1].rpartition("_")[0], name.rpartition("_")[2]
        results[name] = f"{split} {{short}} at the {_RULES[rule]}, {weights} weights, percent"
    about = _ABOUT | results
    return {field.name: (field.type, about[field.name]) for field in RUN_SCHEMA if field.name not in CORRECT_COLUMNS}


@register_table(
    "runs",
    80,
    title="Every run",
    note="One training with one configuration and one seed. Scores in percent under every selection rule.",
    columns=_columns(),
    shown=(
        "run_id", "status", "phase", "teacher", "student", "method", "options", "seed", "trial", "epochs_done",
        "val_last_raw", "test_last_raw", "val_last_ema", "test_last_ema", "seconds", "retries", "host", "message",
    ),
)  # fmt: skip
def prepare(frames: Frames) -> pd.DataFrame:
    """The runs in order of run_id."""
    return frames.runs

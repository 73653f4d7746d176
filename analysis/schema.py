"""The ledger's tables: one fixed Arrow schema each, with a version, and the check of a row against it.

Columns that do not exist for every run (method options, named parts of a loss) are JSON text in one column, because
a folder of Parquet files with differing columns is read with columns silently missing.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from analysis.metrics import METRICS

SCHEMA_VERSION = "4"
"""Raised whenever a column is added, removed, or changes its name, meaning or type. Older ones are still read."""

RUN_STATUSES = ("finished", "pruned", "diverged", "failed")
CELL_STATUSES = ("finished", "running", "waiting", "pruned", "diverged", "failed", "blocked")
PHASES = ("teacher", "pretrain", "scratch", "search", "confirm", "exchange")
SETTINGS = ("scratch", "default", "tuned")
FROM = "from "
AT = "@"
"""Between a teacher's model and which further seed it was trained under, in the name of a teacher."""
"""What the setting begins with that a cell has of another: `from TEACHER:STUDENT`, the best one of that cell."""
FAILURES = ("oom", "diverged", "lost", "data", "bug")
RULES = ("last", "best_val", "best_test")
WEIGHTS = ("raw", "ema")

RESULT_COLUMNS = tuple(
    f"{split}_{rule}_{weights}" for split in ("val", "test") for rule in RULES for weights in WEIGHTS
)
"""The score (the run's metric, in percent, more is better) under every selection rule; null where there is none."""

CORRECT_COLUMNS = tuple(f"test_correct_{rule}_{weights}" for rule in RULES[:2] for weights in WEIGHTS)
"""`numpy.packbits` of the correctness of each test image, in file order; null where the score is not a mean of it."""


def phase_of(setting: str) -> str:
    """The phase of a run that the matrix asks for under this setting alone."""
    return "scratch" if setting == "scratch" else "exchange" if setting.startswith(FROM) else "confirm"


class LedgerError(ValueError):
    """A table that cannot be written or read; the message is one line naming the file or column and what is allowed."""


def _schema(table: str, **columns: pa.DataType | pa.Field) -> pa.Schema:
    fields = [
        column.with_name(name) if isinstance(column, pa.Field) else pa.field(name, column)
        for name, column in columns.items()
    ]
    return pa.schema(fields, metadata={"schema_version": SCHEMA_VERSION, "table": table})


def _required(kind: pa.DataType) -> pa.Field:
    return pa.field("", kind, nullable=False)


_TEXT, _REAL, _INT, _TIME = pa.string(), pa.float64(), pa.int64(), pa.timestamp("us", tz="UTC")

RUN_SCHEMA = _schema(
    "run",
    run_id=_required(_TEXT),
    study=_required(_TEXT),
    status=_required(_TEXT),
    phase=_required(_TEXT),
    teacher=_required(_TEXT),
    teacher_weights=_TEXT,
    teacher_family=_TEXT,
    student=_required(_TEXT),
    student_family=_TEXT,
    method=_required(_TEXT),
    options=_required(_TEXT),
    seed=_required(_INT),
    trial=_INT,
    data=_required(_TEXT),
    task=_required(_TEXT),
    metric=_required(_TEXT),
    epochs=_required(_INT),
    epochs_done=_required(_INT),
    config=_required(_TEXT),
    **dict.fromkeys(RESULT_COLUMNS, _REAL),
    **dict.fromkeys(CORRECT_COLUMNS, pa.binary()),
    details=_TEXT,
    test_images=_INT,
    skipped_images=_INT,
    memory_measures=_TEXT,
    exported=_TEXT,
    initial_sha256=_TEXT,
    student_sha256=_TEXT,
    student_params=_INT,
    extra_params=_INT,
    teacher_sha256=_TEXT,
    teacher_score=_REAL,
    seconds=_REAL,
    energy_joules=_REAL,
    peak_memory=_INT,
    started=_TIME,
    ended=_TIME,
    retries=_INT,
    preemptions=_INT,
    workers=_INT,
    threads=_INT,
    host=_TEXT,
    device=_TEXT,
    cpu=_TEXT,
    torch=_TEXT,
    timm=_TEXT,
    pat_version=_TEXT,
    python=_TEXT,
    git_commit=_TEXT,
    failure_class=_TEXT,
    message=_TEXT,
)
"""One row: one run that has ended. Scores in percent, times in seconds and UTC, energy in joules; `teacher` is empty
for runs without one; `config` is the canonical configuration whose hash is `run_id`; `trial` is the place of a search
run in the order in which its cell's settings were drawn, from 0.

`metric` is what a score is, one of METRICS. `details`: the test set's further scores in percent, JSON text, by rule and
weights: {"last_raw": {"ap50": 41.2, …}, …}. `initial_sha256` is that of the file of weights that the training started
from, empty where there was none.

`failure_class` is one of FAILURES; null for a run that has not failed. `memory_measures` says what was done after the
device's memory had run out ("checkpointing, accumulation 4"): such a run is not claimed to be equal bit for bit.
`peak_memory` is in bytes of the device's memory, `skipped_images` counts unreadable images that were left out,
`preemptions` losses of a process or machine that do not count as retries. Null: not known."""

RUN_VOLATILE = (
    "seconds",
    "energy_joules",
    "peak_memory",
    "started",
    "ended",
    "retries",
    "preemptions",
    "workers",
    "host",
    "device",
    "cpu",
    "torch",
    "timm",
    "pat_version",
    "python",
    "git_commit",
)
"""Columns that may differ between two executions of the same study; all others are equal bit for bit."""

EPOCH_SCHEMA = _schema(
    "epoch",
    run_id=_required(_TEXT),
    epoch=_required(_INT),
    lr=_REAL,
    train_loss=_REAL,
    val_loss_raw=_REAL,
    val_score_raw=_REAL,
    val_loss_ema=_REAL,
    val_score_ema=_REAL,
    test_score_raw=_REAL,
    test_score_ema=_REAL,
    seconds=_REAL,
    parts=_required(_TEXT),
    options=_required(_TEXT),
)
"""One row: one epoch of one run, counted from 1. `parts` is the JSON text of the epoch's mean of each named part."""

EPOCH_VOLATILE = ("seconds",)

MATRIX_SCHEMA = _schema(
    "matrix",
    study=_required(_TEXT),
    data=_required(_TEXT),
    metric=_required(_TEXT),
    teacher=_required(_TEXT),
    teacher_family=_TEXT,
    student=_required(_TEXT),
    student_family=_TEXT,
    method=_required(_TEXT),
    setting=_required(_TEXT),
    options=_TEXT,
    seed=_required(_INT),
    run_id=_TEXT,
    status=_required(_TEXT),
    reason=_TEXT,
    rule=_required(_TEXT),
    weights=_required(_TEXT),
)
"""One row: one cell, setting and seed, as the planner decided. Scratch rows have an empty teacher and stand once per
student and seed; `run_id` and `options` are null until they are known. All rows have the metric of the study. A
`setting` is one of SETTINGS or, in a study with an exchange, `from TEACHER:STUDENT`: that of another cell."""

_VOCABULARY: dict[tuple[str, str], Sequence[str]] = {
    ("run", "status"): RUN_STATUSES,
    ("run", "phase"): PHASES,
    ("run", "failure_class"): FAILURES,
    ("run", "metric"): tuple(METRICS),
    ("matrix", "metric"): tuple(METRICS),
    ("matrix", "status"): CELL_STATUSES,
    ("matrix", "setting"): SETTINGS,
    ("matrix", "rule"): RULES,
    ("matrix", "weights"): WEIGHTS,
}


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """`rows` as an Arrow table of exactly `schema`; NaN becomes null.

    Raises LedgerError for a missing or unknown column, a value of the wrong type, a null where none is allowed, a word
    outside the column's vocabulary, and a score that is infinite.
    """
    name = schema.metadata[b"table"].decode()
    expected = set(schema.names)
    for row in rows:
        if row.keys() != expected:
            _refuse_columns(name, row, schema)
    arrays = [_column(name, field, [row[field.name] for row in rows]) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _refuse_columns(table: str, row: Mapping[str, Any], schema: pa.Schema) -> None:
    for key in row:
        if key not in schema.names:
            near = difflib.get_close_matches(key, schema.names, n=2, cutoff=0.5)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise LedgerError(f"unknown column {key!r} in a {table} row{hint}")
    missing = ", ".join(key for key in schema.names if key not in row)
    raise LedgerError(f"missing column {missing} in a {table} row")


def _column(table: str, field: pa.Field, values: list[Any]) -> pa.Array:
    try:
        array = pa.array(values, type=field.type, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise LedgerError(f"column {field.name!r} of a {table} row must be {field.type}: {reason}") from error
    if array.null_count and not field.nullable:
        raise LedgerError(f"column {field.name!r} of a {table} row may not be null")
    if table == "run" and field.name in RESULT_COLUMNS:
        for value in values:
            if value is not None and math.isinf(value):
                raise LedgerError(
                    f"column {field.name!r} of a run row is {value}; allowed: a score in percent, or none"
                )
    allowed = _VOCABULARY.get((table, field.name), ())
    for value in array.to_pylist() if allowed else ():
        if value is not None and value not in allowed and not (field.name == "setting" and value.startswith(FROM)):
            raise LedgerError(f"column {field.name!r} of a {table} row is {value!r}; allowed: {', '.join(allowed)}")
    return array

"""Files as programs of older schema versions wrote them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SINCE_4 = ("task", "metric", "details", "initial_sha256")
SINCE_3 = ("trial", *SINCE_4)
SINCE_2 = ("memory_measures", "peak_memory", "preemptions", "skipped_images", *SINCE_3)
_LATER = {"1": SINCE_2, "2": SINCE_3, "3": SINCE_4}
_TOP1 = {
    "teacher_score": "teacher_top1",
    "val_score_raw": "val_top1_raw",
    "val_score_ema": "val_top1_ema",
    "test_score_raw": "test_top1_raw",
    "test_score_ema": "test_top1_ema",
}


def as_version(version: str, path: Path, failure_class: str | None = None) -> None:
    """Make a file of today one that the program of an older schema version wrote; that had other failure classes."""
    table = pq.read_table(path)
    old = table.drop_columns([name for name in _LATER[version] if name in table.schema.names])
    if failure_class is not None:
        place = old.schema.get_field_index("failure_class")
        old = old.set_column(place, old.schema.field(place), pa.array([failure_class]))
    old = old.rename_columns([_TOP1.get(name, name) for name in old.schema.names])
    metadata = {**table.schema.metadata, b"schema_version": version.encode()}
    pq.write_table(old.replace_schema_metadata(metadata), path)


def all_as_version(version: str, folder: Path) -> None:
    """The same of every file of a study's ledger."""
    for path in (folder / "matrix.parquet", *(folder / "runs").glob("*/*.parquet")):
        as_version(version, path)

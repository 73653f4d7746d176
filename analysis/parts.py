"""What folders must be before they are merged: one study, at rest, taught by the same teachers."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from analysis import ledger, storage
from analysis.definition import below
from analysis.identity import completed, difference, unite
from analysis.live import LOCK, read_driver
from analysis.schema import LedgerError
from analysis.storage import Folder

STUDY = "study.json"
TEACHERS, TAGS = "teachers", "tags.json"
"""The folder of the weights that were not trained in the study, and what is recorded there of timm's tags."""


def check_parts(parts: Sequence[Folder]) -> list[dict[str, Any]]:
    """The `study.json` of each part. Raises LedgerError, naming the part, where they cannot be merged."""
    studies = [_study(part) for part in parts]
    for part, study in zip(parts, studies, strict=True):
        if found := difference(studies[0], study):
            name, old, new = found
            raise LedgerError(f"{part}: not the study of {parts[0]}: its {name} is {new!r}, not {old!r}")
        _refuse_driver(part)
    _check_teachers(parts)
    return studies


def _study(folder: Folder) -> dict[str, Any]:
    text = storage.read_file(folder, STUDY)
    if text is None:
        raise LedgerError(f"{folder}: no {STUDY} here, so this is not the folder of a study{below(folder)}")
    try:
        values = completed(json.loads(text))
        unite(values, values)
    except (ValueError, TypeError, KeyError) as error:
        raise LedgerError(f"{folder}/{STUDY}: cannot be read as a study") from error
    return values


def _refuse_driver(folder: Folder) -> None:
    driver = read_driver(folder)
    if driver is not None and driver.alive:
        raise LedgerError(f"{folder}: pid {driver.pid} on {driver.host} works on this study; wait for its end")


def _check_teachers(parts: Sequence[Folder]) -> None:
    """One identity of a teacher is one file of weights, in all parts."""
    known: dict[str, tuple[str, Folder]] = {}
    for part in parts:
        for identity, digest in _teachers(part):
            first, place = known.setdefault(identity, (digest, part))
            if digest != first:
                raise LedgerError(
                    f"{part}: teacher {identity} has the weights {digest}, but in {place} they are {first}; what two "
                    "different teachers taught cannot stand in one table"
                )


def _teachers(folder: Folder) -> Iterator[tuple[str, str]]:
    """Every identity of a teacher in a ledger, in words, and the SHA-256 of its weights."""
    columns = ("run_id", "phase", "student", "student_sha256", "teacher", "teacher_weights", "teacher_sha256")
    runs = ledger.read_runs(folder, columns)
    trained = runs[(runs["phase"] == "teacher") & runs["student_sha256"].notna()]
    for row in trained.itertuples():
        yield f"{row.student} (run:{row.run_id})", str(row.student_sha256)
    taught = runs[runs["teacher_weights"].notna() & runs["teacher_sha256"].notna()]
    for row in taught.drop_duplicates(["teacher_weights", "teacher_sha256"]).itertuples():
        yield f"{row.teacher} ({row.teacher_weights})", str(row.teacher_sha256)
    yield from read_tags(folder).items()


def read_tags(folder: Folder) -> dict[str, str]:
    """What timm gave for each tag and image size when a study began: the SHA-256 of the weights."""
    tags: dict[str, str] = json.loads(storage.read_file(folder, f"{TEACHERS}/{TAGS}") or b"{}")
    return tags


@contextmanager
def locked(folder: Folder) -> Iterator[None]:
    """Keeps drivers of this machine away from a local folder for the time of the block."""
    if "://" in str(folder):
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LedgerError(f"{folder}: another process works on this study; wait for its end") from error
        yield

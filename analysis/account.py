"""What a study's data set holds, as it was read, in one small file; who of its models answers as if it knew nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.chance import at_chance
from analysis.schema import LedgerError
from analysis.storage import Folder, read_file, write_file
from analysis.words import few

if TYPE_CHECKING:
    from analysis.frames import Frames

FILE = "data.json"


def write_account(folder: Folder, account: str, classes: tuple[str, ...], chance: float, images: int) -> None:
    """Keep what was read: the account in one line, the names of the classes, and what a constant answer scores on the
    test images, of which there are so many."""
    known = {"account": account, "classes": list(classes), "test_images": images}
    known |= {"chance": None if pd.isna(chance) else chance}
    data = (json.dumps(known, indent=1) + "\n").encode()
    if read_file(folder, FILE) != data:
        write_file(folder, FILE, data)


def read_account(folder: Folder) -> Mapping[str, Any]:
    """The same as a mapping, empty for a study of before. Raises LedgerError for a file that is not ours."""
    try:
        return dict(json.loads(read_file(folder, FILE) or b"{}"))
    except (ValueError, TypeError) as error:
        raise LedgerError(f"{folder}/{FILE}: cannot be read as what a data set holds") from error


def guessing(frames: Frames) -> str:
    """Who is at chance on the test images, in a sentence or two; empty where nobody is, or it is not known."""
    chance, images = frames.account.get("chance"), frames.account.get("test_images")

    def guesses(score: Any) -> bool:
        return not pd.isna(score) and at_chance(float(score), chance, images)

    columns = ["teacher", "student", "method", "teacher_score", "scratch_mean", "score_mean"]
    rows = frames.cells[columns].to_dict("records")
    teachers = {row["teacher"]: row["teacher_score"] for row in rows if row["teacher"]}
    bad = [f"{name} ({score:.2f} %)" for name, score in teachers.items() if guesses(score)]
    students = {row["student"]: row["scratch_mean"] for row in rows}
    alone = [f"{name} ({score:.2f} %)" for name, score in students.items() if guesses(score)]
    taught = [f"{row['teacher']} → {row['student']} {row['method']}" for row in rows if guesses(row["score_mean"])]
    parts = [
        f"the teacher{'s' if len(bad) > 1 else ''} {few(bad)}" if bad else "",
        f"without a teacher {few(alone)}" if alone else "",
        f"{few(taught)}" if taught else "",
    ]
    if not any(parts):
        return ""
    text = f"At chance, where always the same answer scores {chance:.2f} %: {'; '.join(filter(None, parts))}."
    return text + (" What a teacher at chance gains its student, it does not teach." if bad else "")

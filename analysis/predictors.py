"""What a study has measured of its teachers before they taught: one small file beside its matrix."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.schema import LedgerError
from analysis.storage import Folder, read_file

FILE = "predictors.json"
TEACHER = ("params", "score", "entropy", "logit_ratio", "alike")
PAIR = ("flop_ratio", "similarity")
"""What is known of a teacher, and of a teacher and a student."""


def read_predictors(folder: Folder) -> Mapping[str, Any]:
    """{"teachers": {name: {…}}, "pairs": [{"teacher", "student", …}]}, both empty where nothing was measured. Raises
    LedgerError for a file that is not ours."""
    try:
        found = json.loads(read_file(folder, FILE) or b'{"teachers": {}, "pairs": []}')
        as_frame(found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LedgerError(f"{folder}/{FILE}: cannot be read as what is known of teachers") from error
    return dict(found)


def united(first: Mapping[str, Any], second: Mapping[str, Any]) -> Mapping[str, Any]:
    """What either knows; of what both do, the first's."""
    pairs = {(pair["teacher"], pair["student"]): pair for known in (second, first) for pair in known["pairs"]}
    return {"teachers": {**second["teachers"], **first["teachers"]}, "pairs": [pairs[key] for key in sorted(pairs)]}


def as_text(known: Mapping[str, Any]) -> bytes:
    """As it stands in the file."""
    return (json.dumps(known, indent=1, sort_keys=True) + "\n").encode()


def as_frame(known: Mapping[str, Any]) -> pd.DataFrame:
    """One row per pair: teacher, student and the numbers TEACHER and PAIR, NaN where one is not known."""
    rows = [
        (pair["teacher"], pair["student"])
        + tuple(known["teachers"][pair["teacher"]][name] for name in TEACHER)
        + tuple(pair[name] for name in PAIR)
        for pair in known["pairs"]
    ]
    frame = pd.DataFrame(rows, columns=["teacher", "student", *TEACHER, *PAIR])
    return frame.astype(dict.fromkeys((*TEACHER, *PAIR), float))

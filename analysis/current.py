"""Whether a study's report is still that of its ledger, so that nothing is drawn again where nothing is new."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from analysis.account import FILE as ACCOUNT
from analysis.predictors import FILE as PREDICTORS
from analysis.storage import Folder, open_folder, read_file, stamped, write_file

PLACE = "report"
"""The folder of a study's report, inside the study's."""
MADE = f"{PLACE}/made.json"
_READ = ("study.json", "matrix.parquet", PREDICTORS, ACCOUNT)
_ROWS = ("run.parquet", "epochs.parquet")


def current(folder: Folder, by: Sequence[str]) -> str:
    """The text of the report's summary.md where it was made `by` the same program of the same ledger; else empty."""
    found = read_file(folder, MADE)
    if found is None or found != _made(folder, by) or read_file(folder, f"{PLACE}/index.html") is None:
        return ""
    return (read_file(folder, f"{PLACE}/summary.md") or b"").decode()


def note(folder: Folder, by: Sequence[str]) -> None:
    """Keep what the report, which has just been written, was made of."""
    write_file(folder, MADE, _made(folder, by))


def _made(folder: Folder, by: Sequence[str]) -> bytes:
    filesystem, root = open_folder(folder)
    rows = [found for found in stamped(filesystem, f"{root}/runs") if found.path.rpartition("/")[2] in _ROWS]
    seen = hashlib.sha256(json.dumps(rows).encode())
    for name in _READ:
        seen.update(hashlib.sha256(read_file(folder, name) or b"").digest())
    return (json.dumps({"by": list(by), "ledger": seen.hexdigest()}) + "\n").encode()

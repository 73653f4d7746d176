"""A report that is written anew whenever the ledger has changed, until the study's driver has ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from pyarrow import fs

from analysis.live import read_driver
from analysis.schema import LedgerError
from analysis.storage import Folder, open_folder

Signature = frozenset[tuple[str, int, int]]
_FILES = ("matrix.parquet", "study.json", "forecast.json")


def watch(
    folder: Folder,
    write: Callable[[bool], None],
    every: float = 30.0,
    ended: Callable[[], bool] | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Call `write(last)` at once and then, looking every `every` seconds, whenever the ledger in `folder` has changed;
    after the study has `ended` (default: its driver says so, or it has none) once with `last` true, and return.

    A LedgerError of one round, as of a file that is just being repaired, is one line on stderr, and the next round
    tries again; that of the last round is raised. Ctrl-C ends it quietly.
    """
    over = ended or (lambda: driver_ended(folder))
    written: Signature | None = None
    try:
        while True:
            last = over()
            try:
                now = signature(folder)
                if last or now != written:
                    write(last)
                    written = now
            except LedgerError as error:
                if last:
                    raise
                print(f"{error}; trying again in {every:g} s", file=sys.stderr)
            if last:
                return
            sleep(every)
    except KeyboardInterrupt:
        return


def driver_ended(folder: Folder) -> bool:
    """Whether no driver will change the study: it says that it has ended, or there never was one. One that has merely
    fallen silent has not ended, because the same command goes on with the study."""
    driver = read_driver(folder)
    return driver is None or bool(driver.ended)


def signature(folder: Folder) -> Signature:
    """Name, size and time of change of every file of the ledger that a report reads; equal where nothing changed. One
    listing, no file is opened. The driver's beat is no change."""
    filesystem, root = open_folder(folder)
    try:
        found = filesystem.get_file_info([f"{root}/{name}" for name in _FILES])
        found += filesystem.get_file_info(fs.FileSelector(f"{root}/runs", allow_not_found=True, recursive=True))
    except OSError as error:
        raise LedgerError(f"cannot list {folder}: {error.strerror or str(error).splitlines()[0]}") from error
    files = [info for info in found if info.is_file and not info.base_name.startswith("_")]
    return frozenset((info.path, info.size, info.mtime_ns or 0) for info in files)

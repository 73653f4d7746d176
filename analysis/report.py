"""The report of one study in DIR/report: every table and figure as files, and one page that shows them all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

import pandas as pd

from analysis import paper
from analysis.arrays import write_arrays
from analysis.current import PLACE
from analysis.figures import write_figures
from analysis.frames import Frames, load
from analysis.page import Picture, Report, Shown, page
from analysis.storage import Folder, write_file
from analysis.summary import overview
from analysis.tables import Table, list_tables
from analysis.tables.forms import describe, files

Built = Mapping[str, tuple[Table, pd.DataFrame]]


def write_report(folder: Folder, refresh: int | None = None, skip_damaged: bool = False) -> str:
    """Write tables, figures, summary.md and index.html of the study in `folder` into its folder `report`; returns the
    text of summary.md. The same ledger gives the same bytes.

    With `refresh` browsers load the page anew every so many seconds; with `skip_damaged` runs that cannot be read are
    left out and named. Raises LedgerError where `folder` holds no study or cannot be written.
    """
    frames = load(folder, skip_damaged)
    tables = write_tables(folder, frames)
    shown = [_shown(table, frame) for table, frame in tables.values()]
    _write_arrays(folder, frames)

    def show(pictures: list[Picture], left_out: dict[str, str]) -> None:
        report = Report(frames, shown, pictures, left_out)
        write_file(folder, f"{PLACE}/index.html", page(report, refresh).encode())

    write_figures(folder, frames, show)
    return _write_summary(folder, frames)


def write_tables(folder: Folder, frames: Frames) -> Built:
    """Write every table of `frames` into `folder`/report/tables, with a page that says what each column means."""
    built = {table.name: (table, frames.table(table.name)) for table in list_tables(frames.metric)}
    for table, frame in built.values():
        for name, data in files(table, frame).items():
            write_file(folder, f"{PLACE}/tables/{name}", data)
    for name, data in paper.files(frames).items():
        write_file(folder, f"{PLACE}/tables/{name}", data)
    write_file(folder, f"{PLACE}/tables/README.md", describe([table for table, _ in built.values()]).encode())
    return built


def place(folder: Folder, tables: bool = False) -> str:
    """Where a person finds the report (with `tables` only those) of the study in `folder`, from the working folder."""
    text = f"{folder}/{PLACE}/" + ("tables" if tables else "index.html")
    return text if "://" in text else os.path.relpath(text)


def write_tables_only(folder: Folder, skip_damaged: bool = False) -> str:
    """The tables and summary.md without figures and page; returns the text of summary.md. Errors as `write_report`."""
    frames = load(folder, skip_damaged)
    write_tables(folder, frames)
    return _write_summary(folder, frames)


def _write_summary(folder: Folder, frames: Frames) -> str:
    text = overview(frames)
    write_file(folder, f"{PLACE}/summary.md", text.encode())
    return text


def _write_arrays(folder: Folder, frames: Frames) -> None:
    for setting in sorted(set(frames.cells["setting"])):
        for what in ("gain", "score"):
            with suppress(ValueError):  # nothing is finished
                write_arrays(frames, folder, f"{PLACE}/arrays/{setting}_{what}.npz", setting, what)


def _shown(table: Table, frame: pd.DataFrame) -> Shown:
    """A table for the page: the columns that a person wants to see first come first, the others are hidden."""
    about = {name: words for name, (_, words) in table.columns.items()}
    hidden = [name for name in table.columns if name not in table.shown]
    return Shown(table.name, table.title, table.note, frame[[*table.shown, *hidden]], about, hidden)

"""The report as one static HTML page: style, script, figures and data are inside, and nothing is fetched."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

import jinja2
import pandas as pd
from markupsafe import Markup

from analysis.frames import Frames
from analysis.page.downstream import downstream_rows
from analysis.page.embed import embedded, script_json
from analysis.page.facts import failed, failing, hardware, reproduce, versions
from analysis.page.headline import cautions, date, findings, state
from analysis.page.matrix import matrix
from analysis.page.rows import best_rows, by_method
from analysis.page.spent import spent
from analysis.page.study import study
from analysis.tables.forms import READABLE, SPREADSHEET
from analysis.verdicts import SMALLEST

_DPI = 1.75
"""Pixels of a figure's file for one of the page: 7 inches at 200 dpi are 800 pixels wide there."""


@dataclass(frozen=True)
class Shown:
    """One table: `name` of its files, `title` in a few words, `note` (how to read it), a description in one line for
    each of its `columns`, and those that are `hidden` until they are asked for."""

    name: str
    title: str
    note: str
    frame: pd.DataFrame
    columns: Mapping[str, str] = field(default_factory=dict)
    hidden: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """One figure: `name` of its files, `title`, `caption`, and the bytes of the PNG that is shown; the `question` that
    it answers, and whether it is folded away as `more`."""

    name: str
    title: str
    caption: str
    png: bytes
    question: str = ""
    more: bool = False


@dataclass(frozen=True)
class Report:
    """What the page shows of a study: its frames, tables and figures; `left_out`: name -> why there is nothing."""

    frames: Frames
    tables: Sequence[Shown] = ()
    figures: Sequence[Picture] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def page(report: Report, refresh: int | None = None) -> str:
    """The page as HTML, to lie in `DIR/report/index.html` beside `figures/` and `tables/`, below it `DIR/runs/`.

    Equal input, equal text. With `refresh` a browser loads it anew every so many seconds. All text of the ledger is
    escaped. Reads what was predicted from `forecast.json` in the study's folder, and the studies beside it
    that begin with its pre-trainings.
    """
    frames = report.frames
    shown = matrix(frames)
    tables = [embedded(table.name, table.frame, table.columns, table.hidden) for table in report.tables]
    return _template().render(
        css=Markup(_file("page.css")),
        js=Markup(_file("page.js")),
        refresh=refresh,
        study_name=frames.study,
        data=frames.data,
        metric=frames.metric,
        state=state(frames),
        date=date(frames),
        smallest=f"{SMALLEST:g}",
        best=best_rows(frames),
        downstream=downstream_rows(frames),
        findings=findings(frames),
        cautions=cautions(frames),
        methods=by_method(frames),
        matrix=shown,
        details=script_json(shown.details),
        figures=_by_question(report.figures),
        left_out=dict(report.left_out),
        tables=[
            {"shown": table, "embedded": data, "json": script_json(data.content), "forms": _forms(table)}
            for table, data in zip(report.tables, tables, strict=True)
        ],
        study=study(frames.definition),
        versions=versions(frames.runs),
        hardware=hardware(frames.runs),
        spent=spent(frames),
        failed=failed(frames.runs),
        damaged=frames.damaged,
        failing=failing(frames.cells),
        reproduce=reproduce(frames),
    )


def _by_question(pictures: Sequence[Picture]) -> list[Mapping[str, object]]:
    """{"question", "shown", "more"} of each question that a figure answers, in the order of the figures."""
    groups: list[Mapping[str, object]] = []
    for question in dict.fromkeys(picture.question for picture in pictures):
        own = [picture for picture in pictures if picture.question == question]
        shown, more = ([_figure(one) for one in own if one.more == folded] for folded in (False, True))
        groups.append({"question": question, "shown": shown, "more": more})
    return groups


def _figure(picture: Picture) -> dict[str, object]:
    width, height = struct.unpack(">II", picture.png[16:24])
    source = Markup("data:image/png;base64," + base64.b64encode(picture.png).decode())
    return {"picture": picture, "source": source, "width": round(width / _DPI), "height": round(height / _DPI)}


def _forms(table: Shown) -> list[str]:
    """The files of a table that there are."""
    rows = len(table.frame)
    return ["parquet"] + ["csv"] * (rows <= SPREADSHEET) + ["md", "tex"] * (rows <= READABLE)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_file("page.html.j2"))


def _file(name: str) -> str:
    return files("analysis.page").joinpath(name).read_text(encoding="utf-8")

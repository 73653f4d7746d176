"""The matrix of gains: one HTML table of teachers and students per method and setting, and what each cell tells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pandas as pd

from analysis.cells import family_order, main_setting
from analysis.choice import choose
from analysis.colours import end
from analysis.frames import Frames
from analysis.labels import method_label, shorten
from analysis.metrics import Metric
from analysis.order import order
from analysis.page.headline import ALPHA
from analysis.page.rows import chance, signed

BEST = "best"
"""Stands for a method in the panel that shows of each pair the best one."""

_GAIN = "gain_over_scratch"
_RULES = {"last": "last epoch", "best_val": "epoch best on validation", "best_test": "epoch best on test"}
_REASON = 48


@dataclass(frozen=True)
class Matrix:
    """All panels; the `limit` of one is where its colours end, in points of the score, the same for all methods of a
    setting; `clipped`: losses lie beyond. `details`: of each cell what the script shows when it is pointed at."""

    methods: Sequence[tuple[str, str]]
    settings: Sequence[str]
    panels: Sequence[Mapping[str, Any]]
    details: Sequence[Mapping[str, Any]]


def matrix(frames: Frames) -> Matrix:
    """The matrix of a study: of each pair its best method first, then one method after another, the tuned setting
    first, families in their order."""
    cells = frames.cells
    runs = _runs(frames.matrix)
    teachers, students = _axis(cells, "teacher"), _axis(cells, "student")
    details: list[dict[str, Any]] = []
    panels = []
    settings = [name for name in ("tuned", "default") if (cells["setting"] == name).any()]
    methods = order(cells["method"])
    heads = [(_family(family), len(list(names))) for family, names in groupby(family for _, _, family in students)]
    for method, setting, group in _groups(frames, methods, settings):
        limit = end(cells.loc[cells["setting"] == (setting or settings[0]), _GAIN])
        found = {(row["teacher"], row["student"]): row for row in records(group)}
        rows = _rows(found, teachers, students, limit, runs, details, frames.metric, method == BEST)
        panel: dict[str, Any] = {"method": method, "setting": setting, "rows": rows, "limit": f"{limit:g}"}
        panel |= {"label": _panel_label(method, setting, group), "clipped": bool((group[_GAIN] < -limit).any())}
        panels.append(panel | {"families": heads, "students": students})
    shown = [(BEST, "best method")] if panels[0]["method"] == BEST else []
    return Matrix([*shown, *((name, method_label(name)) for name in methods)], settings, panels, details)


def _groups(frames: Frames, methods: Sequence[str], settings: Sequence[str]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Method, setting and cells of each panel; the best method has the main setting, and its panel no other."""
    cells = frames.cells
    if len(methods) > 1 and cells[_GAIN].notna().any():
        known = choose(frames, ["teacher", "student"])
        others = cells[cells["setting"] == main_setting(cells)].drop_duplicates(["teacher", "student"])
        yield BEST, "", pd.concat([known, others]).drop_duplicates(["teacher", "student"])
    for method in methods:
        for setting in settings:
            yield method, setting, cells[(cells["method"] == method) & (cells["setting"] == setting)]


def _panel_label(method: str, setting: str, group: pd.DataFrame) -> str:
    if method != BEST:
        return f"{method_label(method)}, {setting} setting."
    on = group["chosen_on"].dropna().iloc[0]
    return f"The best method of each pair, {group['setting'].iloc[0]} setting, chosen on {on}."


def _rows(
    found: Mapping[tuple[str, str], Mapping[str, Any]],
    teachers: Sequence[tuple[str, str, str]],
    students: Sequence[tuple[str, str, str]],
    limit: float,
    runs: Mapping[tuple[str, ...], list[dict[str, Any]]],
    details: list[dict[str, Any]],
    metric: Metric,
    named: bool,
) -> list[dict[str, Any]]:
    rows = []
    for family, group in groupby(teachers, key=lambda teacher: teacher[2]):
        members = list(group)
        for i, (name, label, _) in enumerate(members):
            cells = []
            for student, *_ in students:
                cell = found.get((name, student))
                cells.append({"kind": "absent"} if cell is None else _cell(cell, limit, len(details), named))
                if cell is not None:
                    details.append(_detail(cell, runs, metric))
            span = {"family": _family(family), "span": len(members) if i == 0 else 0, "first": i == 0}
            rows.append({**span, "name": name, "label": label, "cells": cells})
    return rows


def _cell(cell: Mapping[str, Any], limit: float, index: int, named: bool) -> dict[str, Any]:
    """What is printed in the table, with the method where it is `named`. `share`: of the colour scale, 0 to 1."""
    gain, half = cell[_GAIN], (cell[f"{_GAIN}_high"] - cell[f"{_GAIN}_low"]) / 2
    words = f"{cell['teacher']} to {cell['student']}"
    if pd.isna(gain):
        why = (
            cell["reason"] if cell["status"] == "finished" else f"{cell['status']}: {cell['reason']}".removesuffix(": ")
        )
        short = why if len(why) <= _REASON else why[: _REASON - 1] + "…"
        return {"kind": "missing", "index": index, "text": short or "no scratch run yet", "label": words}
    sure, strict = bool(cell[f"{_GAIN}_p_bh"] < ALPHA), bool(cell[f"{_GAIN}_p_holm"] < ALPHA)
    method = method_label(cell["method"]) if named else ""
    partial = f"n = {cell['n']} of {cell['seeds_planned']}" if cell["n"] < cell["seeds_planned"] else ""
    span = "" if pd.isna(half) else f"± {half:.2f}"
    label = f"{words}, {cell['verdict']}"
    share = min(1.0, abs(gain) / limit)
    text = {"text": signed(gain) + ("*" if strict else ""), "small": span or f"n = {cell['n']}", "partial": partial}
    text |= {"method": method, "clipped": gain < -limit}
    sign = "up" if gain > 0 else "down"
    return {"kind": "gain", "index": index, "label": label, "sign": sign, "share": f"{share:.3f}", "sure": sure, **text}


def _detail(
    cell: Mapping[str, Any], runs: Mapping[tuple[str, ...], list[dict[str, Any]]], metric: Metric
) -> dict[str, Any]:
    """Title, lines (name, value) and runs of one cell, as text."""
    key = (cell["teacher"], cell["student"], cell["method"], cell["setting"])
    rule = f"{_RULES.get(cell['rule'], cell['rule'])}, {'EMA' if cell['weights'] == 'ema' else cell['weights']} weights"
    lines = [
        ("gain over scratch", _points(cell[_GAIN])),
        ("verdict", str(cell["verdict"])),
        ("in the light of all cells", _points(cell[f"{_GAIN}_shrunk"])),
        ("95 %, other seeds", _interval(cell, _GAIN, "")),
        ("95 %, seeds and images", _interval(cell, _GAIN, "_images")),
        ("p, other seeds", _p(cell, f"{_GAIN}_p")),
        ("p after Benjamini-Hochberg", _p(cell, f"{_GAIN}_p_bh")),
        ("p after Holm", _p(cell, f"{_GAIN}_p_holm")),
        ("p, seeds and images", _p(cell, f"{_GAIN}_images_p")),
        (metric.plain, _score(cell, "score", metric)),
        ("scratch", _score(cell, "scratch", metric)),
        ("gain over KD", _points(cell["gain_over_kd"]) + _in_brackets(_interval(cell, "gain_over_kd", ""))),
        ("teacher", _number(cell["teacher_score"], metric)),
        ("seeds", f"{cell['n']} of {cell['seeds_planned']}"),
        ("rule", rule),
        ("state", f"{cell['status']}: {cell['reason']}".removesuffix(": ")),
        ("memory", str(cell.get("memory_measures") or "")),
        *((f"option {name}", value) for name, value in _options(cell["options"])),
    ]
    title = f"{cell['teacher']} → {cell['student']}"
    what = f"{method_label(cell['method'])}, {cell['setting']} setting"
    shown = [line for line in lines if line[1] not in ("", "–")]
    return {"title": title, "what": what, "lines": shown, "runs": runs.get(key, [])}


def _runs(rows: pd.DataFrame) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """Of each cell its seeds, with the run of each and the scratch run beside it; no run: None."""
    ids = rows["run_id"].astype(object).where(rows["run_id"].notna(), None)
    columns = [rows[name] for name in ("teacher", "student", "method", "setting", "seed", "status")]
    entries = list(zip(*columns, ids, strict=True))
    scratch = {(student, seed): run for _, student, _, setting, seed, _, run in entries if setting == "scratch"}
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for teacher, student, method, setting, seed, status, run in entries:
        if setting != "scratch":
            entry = {"seed": int(seed), "state": status, "run": run, "scratch": scratch.get((student, seed))}
            found.setdefault((teacher, student, method, setting), []).append(entry)
    return found


def _axis(cells: pd.DataFrame, side: str) -> list[tuple[str, str, str]]:
    """(name, label, family) of the models of one side, families in their order."""
    family = f"{side}_family"
    models = cells[[side, family]].drop_duplicates(side).sort_values(side)
    models = models.sort_values(family, key=family_order, kind="stable")
    labels = shorten(models[side])
    return [(name, labels[name], str(kind)) for name, kind in models.to_numpy()]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame by column name."""
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def _family(name: str) -> str:
    return {"vit": "ViT", "cnn": "CNN", "mlp": "MLP"}.get(name, "other" if name in ("None", "nan") else name)


def _points(value: float) -> str:
    return "–" if pd.isna(value) else f"{signed(value)} points"


def _number(value: float, metric: Metric) -> str:
    return "–" if pd.isna(value) else metric.number(value)


def _score(cell: Mapping[str, Any], name: str, metric: Metric) -> str:
    spread = cell[f"{name}_std"]
    return _number(cell[f"{name}_mean"], metric) + ("" if pd.isna(spread) else f" (SD {spread:.2f})")


def _interval(cell: Mapping[str, Any], name: str, kind: str) -> str:
    low, high = (cell.get(f"{name}{kind}{end}", float("nan")) for end in ("_low", "_high"))
    return "–" if pd.isna(low) else f"{signed(low)} to {signed(high)}"


def _in_brackets(text: str) -> str:
    return "" if text == "–" else f" ({text})"


def _p(cell: Mapping[str, Any], name: str) -> str:
    value = cell.get(name)
    return "–" if value is None else chance(value)


def _options(text: object) -> list[tuple[str, str]]:
    """Name and value of each option in the JSON text."""
    try:
        options = json.loads(str(text))
        return [(str(name), value if isinstance(value, str) else json.dumps(value)) for name, value in options.items()]
    except (ValueError, AttributeError):
        return []

"""What an author needs for a paper: the table of pairs x methods, the tuned settings, how it was made."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.cells import family_order, main_setting
from analysis.cost import device_hours
from analysis.frames import Frames
from analysis.labels import family_label, method_label, shorten
from analysis.order import order
from analysis.schema import PHASES
from analysis.stats import LEVEL
from analysis.tables.forms import escape
from analysis.words import counted, markdown

_NONE = "–"
_GAIN = "gain_over_scratch"


@dataclass(frozen=True)
class _Marks:
    """How a format writes the best and the second best number, and a sign behind a number."""

    best: str
    second: str
    sure: str


_TEX = _Marks(r"\textbf{%s}", r"\underline{%s}", r"$^{*}$")
_MARKDOWN = _Marks("**%s**", "<u>%s</u>", "*")


def files(frames: Frames) -> dict[str, bytes]:
    """The files for a paper by name, empty where no cell has a score yet."""
    if frames.cells["score_mean"].isna().all():
        return {}
    made = {"paper.tex": paper_tex(frames), "paper.md": paper_md(frames), "reproducibility.md": checklist(frames)}
    found = settings(frames)
    if len(found):
        made["tuned_settings.md"] = f"# Tuned settings\n\n{markdown(found)}\n"
        made["tuned_settings.tex"] = _settings_tex(found)
    return {name: text.encode() for name, text in made.items()}


def paper_md(frames: Frames) -> str:
    """Pairs x methods as Markdown."""
    return f"# {_title(frames)}\n\n{markdown(_table(frames, _MARKDOWN))}\n\n{_note(frames)}\n"


def paper_tex(frames: Frames) -> str:
    """The same as a `table*` of LaTeX with booktabs rules, student families apart."""
    table = _table(frames, _TEX)
    methods = list(table.columns[5:])
    heads = ["teacher", "student", "teacher's", "scratch", *methods]
    lines = [" & ".join(escape(head) for head in heads) + r" \\", r"\midrule"]
    before = None
    for row in table.itertuples(index=False, name=None):
        if before not in (None, row[0]):
            lines.append(r"\midrule")
        before = row[0]
        words = [escape(str(text)) for text in row[1:3]]
        lines.append(
            " & ".join([*words, *(str(text).replace(_NONE, "--").replace("−", "$-$") for text in row[3:])]) + r" \\"
        )
    body = "\n".join(lines)
    return (
        "% needs \\usepackage{booktabs} and \\usepackage{graphicx}\n\\begin{table*}\n\\centering\n"
        f"\\caption{{{escape(_title(frames))}. {escape(_note(frames))}}}\n\\label{{tab:paper}}\n"
        f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n"
        f"\\begin{{tabular}}{{ll{'r' * (2 + len(methods))}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}}}\n"
        "\\end{table*}\n"
    )


def _title(frames: Frames) -> str:
    return f"Test {frames.metric.plain} on {frames.data}, {main_setting(frames.cells)} settings"


def _note(frames: Frames) -> str:
    counts = frames.cells.loc[frames.cells["n"] > 0, "n"]
    seeds = (
        "no"
        if counts.empty
        else f"{counts.min()}"
        if counts.min() == counts.max()
        else f"{counts.min()} to {counts.max()}"
    )
    return (
        f"Mean over {seeds} seeds, percent. Best of a row in bold, second underlined; an asterisk marks a gain over "
        f"scratch with p < {1 - LEVEL:.2f} after Holm's correction over all cells. Last row: mean gain over the "
        "pairs that all methods have, with half of its 95 % interval over seeds."
    )


def _table(frames: Frames, marks: _Marks) -> pd.DataFrame:
    """One row per pair, families of students in their order, then the methods' mean gains; all text."""
    setting = main_setting(frames.cells)
    cells = frames.cells[frames.cells["setting"] == setting]
    methods = order(cells["method"])
    labels = shorten({*cells["teacher"], *cells["student"]})
    ordered = cells.sort_values(
        ["student_family", "student", "teacher_family", "teacher"], key=family_order, kind="stable"
    )
    rows = []
    pair: Any
    for pair, group in ordered.groupby(["teacher", "student"], sort=False):
        own = group.set_index("method")
        row = {"family": family_label(group["student_family"].iloc[0]), "teacher": labels[pair[0]]}
        row |= {"student": labels[pair[1]], "teacher's": _number(group["teacher_score"].max())}
        row |= {"scratch": _number(group["scratch_mean"].max())}
        rows.append(row | dict(zip(methods, _scores(own, methods, marks), strict=True)))
    table = pd.DataFrame(rows).rename(columns={name: method_label(name) for name in methods})
    means = frames.table("methods").query("setting == @setting").set_index("method")
    last = [_mean(row) for row in means.loc[methods].to_dict("records")]
    return pd.concat([table, pd.DataFrame([["", "mean gain", "", "", "", *last]], columns=table.columns)])


def _scores(own: pd.DataFrame, methods: Sequence[str], marks: _Marks) -> Iterator[str]:
    known = own["score_mean"].dropna().round(2).sort_values(ascending=False)
    best, second = (known.iloc[i] if len(known) > i else None for i in (0, 1))
    for method in methods:
        if method not in known.index:
            yield _NONE
            continue
        value, text = known[method], _number(known[method])
        text = marks.best % text if value == best else marks.second % text if value == second else text
        sure = bool(own[f"{_GAIN}_p_holm"][method] < 1 - LEVEL and own[_GAIN][method] > 0)
        yield text + (marks.sure if sure else "")


def _mean(row: Mapping[Hashable, Any]) -> str:
    if pd.isna(row["gain"]):
        return _NONE
    half = (row["high"] - row["low"]) / 2
    text = f"{round(row['gain'], 2) + 0.0:+.2f}".replace("-", "−")
    return text + ("" if pd.isna(half) else f" ({half:.2f})")


def _number(value: float) -> str:
    return _NONE if pd.isna(value) else f"{value:.2f}"


def settings(frames: Frames) -> pd.DataFrame:
    """What the search chose in each cell: teacher, student, method and every option that it set, as text."""
    rows = frames.cells[(frames.cells["setting"] == "tuned") & frames.cells["options"].notna()]
    labels = shorten({*rows["teacher"], *rows["student"]})
    found = []
    row: Any
    for row in rows.itertuples():
        options = json.loads(row.options)
        words = ", ".join(
            f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in options.items()
        )
        names = {"teacher": labels[row.teacher], "student": labels[row.student], "method": method_label(row.method)}
        found.append(names | {"setting": words})
    return pd.DataFrame(found)


def _settings_tex(table: pd.DataFrame) -> str:
    lines = [" & ".join(escape(str(text)) for text in row) + r" \\" for row in table.itertuples(index=False, name=None)]
    body = "\n".join(lines)
    head = " & ".join(table.columns) + r" \\"
    return (
        "% needs \\usepackage{booktabs} and \\usepackage{longtable}\n\\begin{longtable}{lllp{0.5\\linewidth}}\n"
        f"\\caption{{Tuned settings.}}\\label{{tab:tuned}}\\\\\n\\toprule\n{head}\n\\midrule\n\\endhead\n{body}\n"
        "\\bottomrule\n\\end{longtable}\n"
    )


def checklist(frames: Frames) -> str:
    """What reviewers ask for, filled from the ledger: seeds, selection, intervals, compute, versions, failures."""
    cells, runs, search = frames.cells, frames.runs, frames.definition.get("search") or {}
    hours = device_hours(runs, frames.gpu_share).groupby(runs["phase"]).sum()
    spent = ", ".join(f"{phase} {hours[phase]:.2f}" for phase in PHASES if phase in hours)
    bad = runs[runs["status"].isin(("failed", "diverged"))]
    trials = search.get("trials") or 0
    answers = {
        "Data": f"{frames.data}; the test set took part in no decision.",
        "Baselines": "Every student was trained without a teacher too, same recipe and seeds; paired by seed.",
        "Seeds": f"{cells['seeds_planned'].max()} for each cell, which no decision has seen.",
        "Hyper-parameters": f"{trials} settings a cell and method, the same number for each, on validation images."
        if trials
        else "The methods' defaults; nothing was tuned.",
        "Selection rule": "; ".join(sorted(set(cells["rule"] + " epoch, " + cells["weights"] + " weights"))),
        "Error bars": "95 % intervals over seeds; p-values corrected by Holm and by Benjamini and Hochberg.",
        "Compute": f"{hours.sum():.2f} device-hours in {counted(len(runs), 'run')} ({spent}), "
        f"on {_listed(runs['device'])}.",
        "Software": f"torch {_listed(runs['torch'])}, timm {_listed(runs['timm'])}, Python {_listed(runs['python'])}, "
        f"code {_listed(runs['git_commit'])}.",
        "Failures": f"{len(bad)} of {len(runs)} runs failed or diverged; the tables say which and why.",
        "Teachers": "One run of each teacher, given which all gains hold.",
    }
    lines = [f"- **{name}.** {text}" for name, text in answers.items()]
    return "\n".join([f"# Reproducibility of {frames.study}", "", *lines]) + "\n"


def _listed(column: pd.Series) -> str:
    found = sorted({str(value) for value in column.dropna() if str(value)})
    return ", ".join(found) or "not known"

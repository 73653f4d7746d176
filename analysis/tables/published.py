"""Published numbers beside a study's own, pair by pair, with what makes them not comparable."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.frames import Frames
from analysis.published import Ours, differences, protocol, read_published, teacher_accuracies
from analysis.tables import REAL, TEXT, register_table

COLUMNS = (
    "paper", "teacher", "student", "teacher_family", "student_family", "method", "published_score", "published_scratch",
    "published_gain", "score", "gain", "gain_low", "gain_high", "setting", "differences", "source",
)  # fmt: skip
_GAIN = "gain_over_scratch"

Fact = Mapping[str, Any]


@register_table(
    "published",
    40,
    title="Published numbers beside ours",
    note="Not a ranking: each row says why its two numbers are not comparable. Published {short} is mostly that of "
    "one run, at the best epoch on the test set or one that is not stated; ours follows the rule of this study, with "
    "its own teachers.",
    columns={
        "paper": (TEXT, "whose table it is"),
        "teacher": (TEXT, "timm name"),
        "student": (TEXT, "timm name"),
        "teacher_family": (TEXT, "cnn, vit or mlp"),
        "student_family": (TEXT, "cnn, vit or mlp"),
        "method": (TEXT, "how it was distilled"),
        "published_score": (REAL, "published test {short}, percent"),
        "published_scratch": (REAL, "the student alone, from the same source, percent; empty where it gives none"),
        "published_gain": (REAL, "their difference, {points}"),
        "score": (REAL, "our mean test {short}, percent"),
        "gain": (REAL, "our gain over our own scratch runs, {points}"),
        "gain_low": (REAL, "its 95 % interval, other seeds, {points}"),
        "gain_high": (REAL, "its upper end"),
        "setting": (TEXT, "our setting: default or tuned"),
        "differences": (TEXT, "what makes the two numbers not comparable"),
        "source": (TEXT, "where the published number was read, and how"),
    },
)
def prepare(frames: Frames) -> pd.DataFrame:
    """One row per published number and setting of ours, for the pairs (the same timm names), data set and methods that
    stand in both; empty where none do.

    `published_score`, `published_scratch` (NaN where that source gives none) and `published_gain` = their difference;
    `score` = our mean score, `gain` our gain over our own scratch runs, `gain_low` and `gain_high` its 95 % interval
    (other seeds); all in percent and points. `differences` is never empty: these are not rankings.
    """
    published = read_published()
    known = published[
        published["metric"].str.startswith(frames.metric.published) & (published["dataset"] == frames.data)
    ]
    known = known[~known["table"].str.startswith("ablation")]
    columns = {str(name): known[name].tolist() for name in known.columns}
    facts = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    teachers, configs = teacher_accuracies(published), _configs(frames)
    rows = []
    cell: Any
    for cell in frames.cells[frames.cells["score_mean"].notna()].itertuples():
        own = _ours(cell, configs.get((cell.teacher, cell.student, cell.method, cell.setting), {}))
        same = [fact for fact in facts if _is_of(fact, _timm(cell.teacher), _timm(cell.student), cell.method)]
        for fact in same:
            theirs = teachers.get((fact["paper"], fact["dataset"], fact["teacher_timm"]))
            lines = [*differences(protocol(fact), own, theirs), *_others(same, fact)]
            rows.append(_row(cell, fact, _scratch(facts, fact), lines))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _is_of(fact: Fact, teacher: str, student: str, method: str) -> bool:
    """Whether a number is that of a cell; one that was reached without a teacher stands beside each of them."""
    taught = fact["teacher_timm"] == teacher or not fact["teacher"]
    return taught and (fact["student_timm"], fact["method"]) == (student, method)


def _row(cell: Any, fact: Fact, scratch: float, lines: list[str]) -> dict[str, Any]:
    row = {name: getattr(cell, name) for name in ("teacher", "student", "teacher_family", "student_family", "method")}
    row |= {"paper": fact["paper"], "published_score": fact["value"], "published_scratch": scratch}
    row |= {"published_gain": fact["value"] - scratch, "score": cell.score_mean, "gain": getattr(cell, _GAIN)}
    row |= {"gain_low": getattr(cell, f"{_GAIN}_low"), "gain_high": getattr(cell, f"{_GAIN}_high")}
    source = f"{fact['source']} ({fact['read']})" + (f": {fact['remark']}" if fact["remark"] else "")
    return row | {"setting": cell.setting, "differences": "; ".join(lines), "source": source}


def _scratch(facts: Sequence[Fact], fact: Fact) -> float:
    """The same source's score of the student alone, under the same rule, read in the same way or else derived from its
    gain; NaN where it gives none."""
    same = ("paper", "student_timm", "metric")
    alone = [one for one in facts if one["method"] == "scratch" and all(one[name] == fact[name] for name in same)]
    read = {one["read"]: float(one["value"]) for one in reversed(alone)}
    return read.get(fact["read"], read.get("derived", float("nan")))


def _others(same: Sequence[Fact], fact: Fact) -> list[str]:
    """What other papers give for the same cell, where it is another value."""
    others = [one for one in same if one["metric"] == fact["metric"] and one["paper"] != fact["paper"]]
    return [
        f"{one['paper']} has {one['value']:.2f} for the same cell" for one in others if one["value"] != fact["value"]
    ]


def _configs(frames: Frames) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """Of each cell the configuration of one of its runs."""
    texts = frames.runs.set_index("run_id")["config"]
    rows = frames.matrix[frames.matrix["run_id"].isin(texts.index)]
    first = rows.drop_duplicates(["teacher", "student", "method", "setting"])
    keys = first[["teacher", "student", "method", "setting"]].itertuples(index=False, name=None)
    return {key: json.loads(texts[run]) for key, run in zip(keys, first["run_id"], strict=True)}


def _ours(cell: Any, config: Mapping[str, Any]) -> Ours:
    data = config.get("data", {})
    teacher = None if pd.isna(cell.teacher_score) else float(cell.teacher_score)
    held_back = float(data.get("validation") or 0.0)
    size, recipe = data.get("image_size"), config.get("recipe", {})
    return Ours(recipe, size, int(cell.n), cell.rule, cell.weights, cell.setting, teacher, held_back)


def _timm(name: str) -> str:
    """A timm name without its pretrained tag."""
    return name.partition(".")[0]

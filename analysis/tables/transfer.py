"""Does the best setting of one cell serve another: what is lost in cell B by taking A's best setting instead of B's."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frames import Frames
from analysis.searches import PAIR, Parameter, marked, parameters
from analysis.tables import BOOL, INT, REAL, TEXT, register_table

COMMON_NEEDED = 4
"""Settings finished in both cells below which no rank correlation is said."""

SOURCES = ("cell", "default", "average")
COLUMNS = (
    "method", "source", "teacher_a", "student_a", "teacher_b", "student_b", "regret", "exact", "distance", "spearman",
    "common",
)  # fmt: skip

Array = NDArray[np.float64]


@register_table(
    "transfer",
    74,
    title="Does the best setting of one cell serve another",
    note="What cell B loses by taking the best setting of cell A instead of its own, by the scores of B's search "
    "(validation images, one seed a trial: small regrets are noise). Where B has not tried the setting, that of the "
    "nearest one that it has finished.",
    columns={
        "method": (TEXT, "how it was distilled"),
        "source": (TEXT, "cell: the best setting of A; default: the default setting; average: B's mean finished trial"),
        "teacher_a": (TEXT, "timm name; empty where the setting is of no cell"),
        "student_a": (TEXT, "timm name; empty where the setting is of no cell"),
        "teacher_b": (TEXT, "timm name"),
        "student_b": (TEXT, "timm name"),
        "regret": (REAL, "B's best score minus that of the setting, {points}; none where B did not finish it"),
        "exact": (BOOL, "B has tried that very setting"),
        "distance": (REAL, "of the setting that stands for it, 0 to 1"),
        "spearman": (REAL, "rank correlation of the settings that A and B have both finished, at least 4"),
        "common": (INT, "how many those are"),
    },
)
def prepare(frames: Frames) -> pd.DataFrame:
    """Per method one row for each ordered pair of cells (source "cell"), and two rows more for each cell B with empty
    teacher_a and student_a: "default", the default setting, and "average", a finished setting of B taken at random.

    Columns: method, source, teacher_a, student_a, teacher_b, student_b, `regret` (best finished validation score of B
    minus that of A's best setting in B, points), `exact` (B has tried that very setting), `distance`,
    `spearman` (of the scores of the settings that both cells have finished; NaN below COMMON_NEEDED), `common` (how
    many those are).

    Where B has not tried the setting, the regret is that of the nearest one that B has finished, `distance` away: root
    mean square over the searched options of the differences between values scaled to 0..1 over the method's trials, by
    logarithm for wide positive ranges, by rank for other numbers; 1 for different words. A setting that B has tried and
    not finished (pruned, failed) is exact and has no regret. A cell without a finished trial is in no row.
    """
    every = marked(frames.table("trials"), frames.matrix)
    parts = [_method(str(method), rows.reset_index(drop=True)) for method, rows in every.groupby("method", sort=False)]
    return pd.concat(parts, ignore_index=True) if parts else _empty()


def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=list(COLUMNS))


def _method(method: str, rows: pd.DataFrame) -> pd.DataFrame:
    """All rows of one method; `rows`: its trials."""
    cells = rows.loc[rows["chosen"], PAIR].reset_index(drop=True)
    cell = pd.MultiIndex.from_frame(cells).get_indexer(pd.MultiIndex.from_frame(rows[PAIR]))
    setting = pd.factorize(rows["setting"])[0]
    score = rows["score"].where(rows["status"] == "finished").to_numpy(float)
    points = _points(parameters(rows), len(rows))
    best, default = np.flatnonzero(rows["chosen"]), rows["default"].to_numpy()
    spearman, common = _correlation(cell, setting, score, len(cells))
    blocks = []
    for b in range(len(cells)):
        here = np.flatnonzero(cell == b)
        top, mean = np.nanmax(score[here]), np.nanmean(score[here])
        reached, exact, distance = _served(best, here, setting, score, points)
        served = {"source": "cell", "a": range(len(cells)), "b": b, "regret": top - reached, "exact": exact}
        served |= {"distance": distance, "spearman": spearman[:, b], "common": common[:, b]}
        alone = {"a": -1, "b": b, "spearman": np.nan, "common": 0}
        own = alone | {
            "source": "default",
            "regret": top - score[here[default[here]][:1]],
            "exact": True,
            "distance": 0.0,
        }
        average = alone | {"source": "average", "regret": [top - mean], "exact": False, "distance": np.nan}
        blocks += [pd.DataFrame(block) for block in (served, own, average)]
    return _named(method, pd.concat(blocks, ignore_index=True), cells) if blocks else _empty()


def _named(method: str, table: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The table with the names of its cells `a` and `b`, ordered by source, a and b."""
    table = table[(table["source"] != "cell") | (table["a"] != table["b"])]
    table = table.assign(method=method, rank=table["source"].map(SOURCES.index)).sort_values(["rank", "a", "b"])
    for side in ("a", "b"):
        for name in PAIR:
            names = np.array([*cells[name], ""], dtype=object)
            table[f"{name}_{side}"] = names[table[side].to_numpy()]
    return table[list(COLUMNS)]


def _served(
    wanted: NDArray[np.intp], here: NDArray[np.intp], setting: NDArray[np.intp], score: Array, points: Array
) -> tuple[Array, NDArray[np.bool_], Array]:
    """What the settings of the trials `wanted` reach in the cell whose trials are `here`: score, exact, distance."""
    tried_here = {number: trial for number, trial in zip(setting[here], here, strict=True)}
    exact = np.array([number in tried_here for number in setting[wanted]], dtype=bool)
    known = np.array([score[tried_here.get(number, here[0])] for number in setting[wanted]])
    finished = here[~np.isnan(score[here])]
    gaps = np.square(points[wanted][:, None, :] - points[finished][None, :, :]).sum(axis=2)
    nearest = gaps.argmin(axis=1)
    distance = np.sqrt(gaps[np.arange(len(wanted)), nearest])
    return np.where(exact, known, score[finished[nearest]]), exact, np.where(exact, 0.0, distance)


def _points(found: list[Parameter], trials: int) -> Array:
    """Each trial as a point, [trials, axes], whose Euclidean distances are those that `prepare` describes."""
    axes = [np.zeros(trials)]
    for parameter in found:
        if parameter.scale == "words":
            axes += [np.where(parameter.values == i, np.sqrt(0.5), 0.0) for i in range(len(parameter.levels))]
        else:
            axes.append(np.nan_to_num(parameter.unit, nan=0.5))
    return np.stack(axes, axis=1) / np.sqrt(max(1, len(found)))


def _correlation(
    cell: NDArray[np.intp], setting: NDArray[np.intp], score: Array, cells: int
) -> tuple[Array, NDArray[np.intp]]:
    """Spearman's correlation of the scores, and the number of settings that both have finished; [cells, cells]."""
    done = ~np.isnan(score) & (cell >= 0)
    table = pd.DataFrame({"cell": cell[done], "setting": setting[done], "score": score[done]})
    shared = table[table.groupby("setting")["cell"].transform("nunique") > 1]
    wide = shared.pivot_table(index="setting", columns="cell", values="score").reindex(columns=range(cells))
    known = wide.notna().to_numpy().astype(np.intp)
    common = known.T @ known
    if not len(wide) or common.max() < COMMON_NEEDED:
        return np.full((cells, cells), np.nan), common
    return wide.corr(method="spearman", min_periods=COMMON_NEEDED).to_numpy(float), common

"""From the ledger's frames to one row per cell and setting: accuracies, gains paired by seed, state and reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.schema import LedgerError
from analysis.stats import holm, moderated_t, paired_t

FAMILIES = ("cnn", "vit", "mlp")
"""The order of families in tables and figures; others follow in alphabetical order."""

Groups = dict[tuple[str, ...], pd.DataFrame]
CELL = ["teacher", "student", "method", "setting"]
GAINS = ("gain_over_scratch", "gain_over_kd")
_WORST_FIRST = ("failed", "diverged", "blocked", "pruned", "running", "waiting", "finished")
_JOINED = ["status", "message", "test_images", "teacher_top1", "failure_class", "memory_measures"]


def join(matrix: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The matrix with each row's `accuracy` (percent, on test, under the row's rule and weights; NaN until it has
    finished) and the columns _JOINED of its run. Where a run has ended since the matrix was written, the run is right.
    """
    shown = "test_" + matrix["rule"] + "_" + matrix["weights"]
    columns = sorted(shown.unique())
    found = runs.set_index("run_id")[_JOINED + columns].rename(columns={"status": "ended"})
    joined = matrix.join(found, on="run_id")
    ended, lost = joined["ended"].notna(), joined["ended"].isna() & (joined["status"] == "finished")
    joined.loc[ended, "status"] = joined["ended"][ended]
    joined.loc[lost, "status"] = "waiting"
    joined.loc[lost, "reason"] = "its run is not in this folder"
    finished = joined["status"] == "finished"
    reason = joined["reason"].fillna("")
    joined["reason"] = reason.where(reason != "", joined["message"].fillna("")).where(~finished, "")
    joined["accuracy"] = np.nan
    for column in columns:
        rows = finished & (shown == column)
        joined.loc[rows, "accuracy"] = joined.loc[rows, column].astype(float)
    return joined.drop(columns=["ended", "message", *columns])


def cells(matrix: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """One row per teacher, student, method and setting, families in their order.

    A gain is the mean over the seeds that both sides have finished, under the same rule and weights, in percentage
    points. Over scratch: against the student's scratch runs. Over KD: tuned against KD's tuned setting and default
    against KD's default, never across, so that neither side had more search than the other; NaN for KD itself.
    `accuracy_*` and `scratch_*` are over the seeds of the gain over scratch, so that their difference is the gain.
    `failure_class` is that of the runs that are in the cell's state `status`; `memory_measures` of any of its runs.
    `n` is the number of seeds of the gain over scratch, `gain_over_kd_n` of that over KD.
    For each gain: `_std`, `_low`, `_high`, `_p`, `_df` of the moderated t over all distinct cells of the study,
    `_p_holm` corrected over the same cells, and `_plain_low`, `_plain_high`, `_plain_p` of the cell's own paired t.
    Two settings that are the same runs are one cell to the statistics.
    """
    joined = join(matrix, runs)
    _check_unique(joined)
    scratch = joined[joined["setting"] == "scratch"]
    methods = joined[joined["setting"] != "scratch"]
    kd = methods[methods["method"] == "kd"]
    versus_scratch = _pair(methods, scratch, ["student"])
    versus_kd = _pair(methods[methods["method"] != "kd"], kd, ["teacher", "student", "setting"])
    images = joined["test_images"].max()
    resolution = 100.0 / float(images) if pd.notna(images) and images > 0 else 0.0
    groups = _by_cell(methods)
    rows = [_describe(group, versus_scratch.get(key)) for key, group in groups.items()]
    frame = pd.DataFrame(rows, columns=_columns())
    for name, pairs in zip(GAINS, (versus_scratch, versus_kd), strict=True):
        gains = _gains(list(groups), pairs, resolution).add_prefix(name + "_")
        frame = pd.concat([frame, gains.rename(columns={name + "_mean": name})], axis=1)
    frame.insert(len(_columns()), "n", frame.pop("gain_over_scratch_n"))
    return frame.sort_values(["method", "setting"], kind="stable").sort_values(
        ["teacher_family", "teacher", "student_family", "student"], key=family_order, kind="stable", ignore_index=True
    )


def family_order(column: pd.Series) -> pd.Series:
    """A key for `sort_values`: families in their order, every other column as it is."""
    if not str(column.name).endswith("_family"):
        return column
    return column.map(lambda name: (FAMILIES.index(name), "") if name in FAMILIES else (len(FAMILIES), str(name)))


def _columns() -> list[str]:
    return [
        "study", "data", "teacher", "teacher_family", "teacher_top1", "student", "student_family", "method", "setting",
        "options", "rule", "weights", "status", "reason", "failure_class", "seeds_planned", "seeds_finished",
        "memory_measures", "accuracy_mean", "accuracy_std", "scratch_mean", "scratch_std",
    ]  # fmt: skip


def _check_unique(joined: pd.DataFrame) -> None:
    twice = joined[joined.duplicated([*CELL, "seed"])]
    if len(twice):
        row = twice.iloc[0]
        raise LedgerError(f"matrix.parquet: {' / '.join(row[CELL])} has seed {row['seed']} twice")


def _by_cell(rows: pd.DataFrame) -> Groups:
    return {tuple(map(str, key)): group for key, group in rows.groupby(CELL, sort=False)}


def _pair(cell_rows: pd.DataFrame, baseline: pd.DataFrame, on: list[str]) -> Groups:
    """Per cell its finished seeds beside the same seed's baseline: columns seed, run_id, accuracy, *_baseline."""
    keys = [*on, "seed", "rule", "weights"]
    right = baseline.loc[baseline["accuracy"].notna(), [*keys, "accuracy", "run_id"]]
    left = cell_rows[cell_rows["accuracy"].notna()]
    both = left.merge(right, on=keys, suffixes=("", "_baseline")).sort_values("seed")
    return _by_cell(both)


def _gains(cell_keys: Sequence[tuple[str, ...]], pairs: Groups, resolution: float) -> pd.DataFrame:
    """Statistics per cell, in order; cells that are the same runs on both sides are computed, and corrected, once."""
    empty = pd.DataFrame({"accuracy": [], "accuracy_baseline": [], "run_id": [], "run_id_baseline": []})
    found = [pairs.get(key, empty) for key in cell_keys]
    names = [(tuple(pair["run_id"]), tuple(pair["run_id_baseline"])) for pair in found]
    distinct = {name: pair for name, pair in zip(names, found, strict=True)}
    differences = [(pair["accuracy"] - pair["accuracy_baseline"]).to_numpy(float) for pair in distinct.values()]
    baselines = [name[1][:1] for name in distinct]
    table = moderated_t(differences, baselines, resolution)
    table["p_holm"] = holm(table["p"])
    table[["plain_low", "plain_high", "plain_p"]] = [paired_t(x) for x in differences]
    positions = {name: position for position, name in enumerate(distinct)}
    return table.iloc[[positions[name] for name in names]].reset_index(drop=True)


def _describe(group: pd.DataFrame, pair: pd.DataFrame | None) -> dict[str, Any]:
    """Everything about one cell but its gains."""
    first = group.iloc[0]
    accuracy = group["accuracy"].dropna() if pair is None else pair["accuracy"]
    scratch = pd.Series(dtype=float) if pair is None else pair["accuracy_baseline"]
    status, reason = _state(group, 0 if pair is None else len(pair))
    options = group["options"].dropna()
    kept = ("study", "data", "teacher", "teacher_family", "student", "student_family", "rule", "weights")
    return {name: first[name] for name in (*kept, "method", "setting")} | {
        "teacher_top1": float(group["teacher_top1"].astype(float).mean()),
        "options": options.iloc[0] if len(options) else None,
        "status": status,
        "reason": reason,
        "failure_class": _words(group["failure_class"][group["status"] == status]),
        "seeds_planned": len(group),
        "seeds_finished": int(group["accuracy"].notna().sum()),
        "memory_measures": _words(group["memory_measures"]),
        "accuracy_mean": float(accuracy.mean()),
        "accuracy_std": float(accuracy.std(ddof=1)),
        "scratch_mean": float(scratch.mean()),
        "scratch_std": float(scratch.std(ddof=1)),
    }


def _words(column: pd.Series) -> str:
    """The different words of a column."""
    return "; ".join(sorted(set(column.dropna())))


def _state(group: pd.DataFrame, paired: int) -> tuple[str, str]:
    """The worst state among the cell's seeds, and why, in a few words."""
    present = set(group["status"])
    status = next(state for state in _WORST_FIRST if state in present)
    if status == "finished":
        missing = len(group) - paired
        return status, f"no finished scratch run for {missing} of {len(group)} seeds" if missing else ""
    reasons = [why for state, why in zip(group["status"], group["reason"], strict=True) if state == status]
    share = "" if len(reasons) == len(group) else f"{len(reasons)} of {len(group)} seeds"
    return status, ": ".join(part for part in (share, next(filter(None, reasons), "")) if part)

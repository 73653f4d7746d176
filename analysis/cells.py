"""From the ledger's frames to one row per cell and setting: scores, gains paired by seed, state and reason."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.metrics import METRICS
from analysis.schema import LedgerError
from analysis.stats import cell_statistics, image_part, shrink
from analysis.verdicts import verdicts

FAMILIES = ("cnn", "vit", "mlp")
"""The order of families in tables and figures; others follow in alphabetical order."""

CELL = ["teacher", "student", "method", "setting"]
GAINS = ("gain_over_scratch", "gain_over_kd")
SETTING_STATISTICS = ("_std", "_low", "_high", "_p", "_p_holm", "_plain_low", "_plain_high")
_WORST_FIRST = ("failed", "diverged", "blocked", "pruned", "running", "waiting", "finished")
_JOINED = ["status", "message", "test_images", "teacher_score", "failure_class", "memory_measures"]
_COLUMNS = (
    "study", "data", "teacher", "teacher_family", "teacher_score", "student", "student_family", "method", "setting",
    "options", "rule", "weights", "status", "reason", "failure_class", "seeds_planned", "seeds_finished",
    "memory_measures", "score_mean", "score_std", "scratch_mean", "scratch_std",
)  # fmt: skip

Array = NDArray[np.float64]


def join(matrix: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The matrix with each row's `score` (percent, on test, under the row's rule and weights; NaN until it has
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
    joined["score"] = np.nan
    for column in columns:
        rows = finished & (shown == column)
        joined.loc[rows, "score"] = joined.loc[rows, column].astype(float)
    return joined.drop(columns=["ended", "message", *columns])


def cells(matrix: pd.DataFrame, runs: pd.DataFrame, correct: Mapping[str, bytes] | None = None) -> pd.DataFrame:
    """One row per teacher, student, method and setting, families in their order.

    A gain is the mean over the seeds that both sides have finished, under the same rule and weights, in points of
    the score. Over scratch: against the student's scratch runs. Over KD: tuned against KD's tuned setting and default
    against KD's default, never across, so that neither side had more search than the other; NaN for KD itself.
    `score_*` and `scratch_*` are over the seeds of the gain over scratch, so that their difference is the gain.
    `failure_class` is that of the runs that are in the cell's state `status`; `memory_measures` of any of its runs.
    `n` is the number of seeds of the gain over scratch, `gain_over_kd_n` of that over KD.
    For each gain its statistics over all distinct cells of the study (`analysis.stats.cell_statistics`), in this order:
    `_std`, `_error`, `_low`, `_high`, `_p`, `_df` (moderated t), `_p_holm`, `_p_bh`, `_plain_low`, `_plain_high`,
    `_plain_p`, `_flip_p`, `_bca_low`, `_bca_high`, all for other seeds on this very test set; `_images_low`,
    `_images_high`, `_images_p` for other seeds and other test images of the same distribution. NaN where not offered.
    Two settings that are the same runs are one cell to the statistics. `gain_over_scratch_shrunk` is the gain in the
    light of the other cells (`analysis.stats.shrink`), `verdict` one of `analysis.verdicts.VERDICTS`.

    `correct` has, by run_id, `numpy.packbits` of the correctness of each test image in file order, under the rule and
    weights that the matrix shows; the columns of images are NaN for a cell that lacks a run in it, and where the score
    is no mean over images. Raises LedgerError for a seed that stands twice, and for bits of another number of images
    than the run's `test_images`.
    """
    joined = join(matrix, runs)
    _check_unique(joined)
    methods, scratch = _sides(joined)
    keys = methods[CELL].drop_duplicates().reset_index(drop=True)
    versus_scratch = _pair(methods, scratch, ["student"])
    versus_kd = _versus_kd(methods)
    resolution, bits = _resolution(joined), (correct or {}) if _per_image(joined) else {}
    frame = _describe(methods, versus_scratch)
    for name, pairs in zip(GAINS, (versus_scratch, versus_kd), strict=True):
        gains = _gains(keys, pairs, resolution, bits).add_prefix(name + "_")
        frame = pd.concat([frame, gains.rename(columns={name + "_mean": name})], axis=1)
    frame.insert(len(_COLUMNS), "n", frame.pop("gain_over_scratch_n"))
    frame = _sorted(frame)
    return frame.assign(gain_over_scratch_shrunk=_shrunken(frame), verdict=_verdicts(frame))


def seed_gains(matrix: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """One row per cell and seed of which a gain is known, with the columns teacher, student, method, setting, seed,
    gain_over_scratch and gain_over_kd (points of the score, paired as in `cells`, NaN where one is not known): what
    `analysis.stats.mean_gain` and its like over several cells are made of."""
    joined = join(matrix, runs)
    _check_unique(joined)
    methods, scratch = _sides(joined)
    rows = methods[[*CELL, "seed"]]
    for name, pairs in zip(GAINS, (_pair(methods, scratch, ["student"]), _versus_kd(methods)), strict=True):
        gains = pairs.assign(**{name: pairs["score"] - pairs["score_baseline"]})
        rows = rows.merge(gains[[*CELL, "seed", name]], on=[*CELL, "seed"], how="left")
    return rows.dropna(subset=list(GAINS), how="all").sort_values([*CELL, "seed"], ignore_index=True)


def setting_gains(matrix: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """What the search found: tuned minus default of each teacher, student and method that has both, paired by
    confirmation seed, in points of the score, moderated over these cells as the gains in `cells` are.

    Columns: teacher, student, method, n, same_setting, tuned_minus_default, and `_std`, `_low`, `_high`, `_p`,
    `_p_holm`, `_plain_low`, `_plain_high` of it. Where the search chose the default, both are the same runs:
    `same_setting` is true, the difference exactly 0 without an interval, and the cell is not counted as a test.
    """
    joined = join(matrix, runs)
    _check_unique(joined)
    tuned, default = (joined[joined["setting"] == setting] for setting in ("tuned", "default"))
    on = ["teacher", "student", "method"]
    keys = tuned[on].merge(default[on].drop_duplicates(), on=on).drop_duplicates().sort_values(on, ignore_index=True)
    planned = tuned[[*on, "seed", "run_id"]].merge(default[[*on, "seed", "run_id"]], on=[*on, "seed"])
    planned["same"] = planned["run_id_x"].notna() & (planned["run_id_x"] == planned["run_id_y"])
    all_same = planned.groupby(on)["same"].all()
    same = np.array([bool(all_same.get(key, False)) for key in keys.itertuples(index=False, name=None)], dtype=bool)
    differences, n = _wide(keys, _pair(tuned, default, on), on)
    differences[same] = np.nan
    table = cell_statistics(differences, list(range(len(keys))), _resolution(joined)).add_prefix("tuned_minus_default_")
    table = table.rename(columns={"tuned_minus_default_mean": "tuned_minus_default"})
    table.loc[same, "tuned_minus_default"] = 0.0
    kept = [f"tuned_minus_default{part}" for part in ("", *SETTING_STATISTICS)]
    return pd.concat([keys.assign(n=n, same_setting=same), table[kept]], axis=1)


def main_setting(cells: pd.DataFrame) -> str:
    """The setting that a study is about: tuned, if it has that."""
    return "tuned" if (cells["setting"] == "tuned").any() else str(cells["setting"].iloc[0])


def family_order(column: pd.Series) -> pd.Series:
    """A key for `sort_values`: families in their order, every other column as it is."""
    if not str(column.name).endswith("_family"):
        return column
    return column.map(lambda name: (FAMILIES.index(name), "") if name in FAMILIES else (len(FAMILIES), str(name)))


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(["method", "setting"], kind="stable").sort_values(
        ["teacher_family", "teacher", "student_family", "student"], key=family_order, kind="stable", ignore_index=True
    )


def _check_unique(joined: pd.DataFrame) -> None:
    twice = joined[joined.duplicated([*CELL, "seed"])]
    if len(twice):
        row = twice.iloc[0]
        raise LedgerError(f"matrix.parquet: {' / '.join(row[CELL])} has seed {row['seed']} twice")


def _sides(joined: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of methods, by seed within each cell, and those of scratch."""
    scratch = joined["setting"] == "scratch"
    return joined[~scratch].sort_values("seed", kind="stable"), joined[scratch]


def _resolution(joined: pd.DataFrame) -> float:
    """What one more correct test image adds to a score, in points; 0 where that is not known, or where the score is no
    mean over images."""
    images = joined["test_images"].max()
    return 100.0 / float(images) if _per_image(joined) and pd.notna(images) and images > 0 else 0.0


def _per_image(joined: pd.DataFrame) -> bool:
    """Whether the score is a mean over images."""
    return all(METRICS[name].per_image for name in joined["metric"].unique())


def _versus_kd(methods: pd.DataFrame) -> pd.DataFrame:
    kd = methods["method"] == "kd"
    return _pair(methods[~kd], methods[kd], ["teacher", "student", "setting"])


def _pair(cell_rows: pd.DataFrame, baseline: pd.DataFrame, on: list[str]) -> pd.DataFrame:
    """Each finished run beside the same seed's baseline (score, run_id, test_images with the suffix _baseline), in
    order of seed; `baseline` is the first finished run of the baseline, which names it."""
    group = [*on, "rule", "weights"]
    right = baseline.loc[baseline["score"].notna(), [*group, "seed", "score", "run_id", "test_images"]]
    right = right.sort_values("seed")
    right["baseline"] = right.groupby(group)["run_id"].transform("first")
    left = cell_rows[cell_rows["score"].notna()]
    return left.merge(right, on=[*group, "seed"], suffixes=("", "_baseline")).sort_values("seed", ignore_index=True)


def _wide(keys: pd.DataFrame, pairs: pd.DataFrame, on: list[str]) -> tuple[Array, Array]:
    """The differences [cells, seeds] of the cells in `keys`, NaN where missing, and how many each cell has."""
    cell = pd.MultiIndex.from_frame(keys).get_indexer(pd.MultiIndex.from_frame(pairs[on]))
    seed, seeds = pd.factorize(pairs["seed"], sort=True)
    wide = np.full((len(keys), len(seeds)), np.nan)
    wide[cell, seed] = pairs["score"] - pairs["score_baseline"]
    return wide, np.count_nonzero(~np.isnan(wide), axis=1)


def _gains(keys: pd.DataFrame, pairs: pd.DataFrame, resolution: float, correct: Mapping[str, bytes]) -> pd.DataFrame:
    """Statistics per cell of `keys`; cells that are the same runs on both sides are computed, and corrected, once. The
    corrections for many cells are over those of the main setting, and apart from these over the others."""
    wide, _ = _wide(keys, pairs, CELL)
    cell = pd.MultiIndex.from_frame(keys).get_indexer(pd.MultiIndex.from_frame(pairs[CELL]))
    grouped = (pairs["run_id"] + "-" + pairs["run_id_baseline"]).groupby(cell).agg(" ".join)
    names = grouped.reindex(range(len(keys)), fill_value="")
    position, distinct = pd.factorize(names)
    first = pd.Series(range(len(keys))).groupby(position).first().to_numpy(int)
    baselines = pairs["baseline"].groupby(cell).first().reindex(first).tolist()
    images = np.full((len(distinct), 2), np.nan)
    if correct:
        for row, original in enumerate(first):
            images[row] = _image_part(pairs[cell == original], correct)
    primary = (keys["setting"] == main_setting(keys)).groupby(position).any().tolist()
    table = cell_statistics(wide[first], baselines, resolution, images, primary)
    return table.iloc[position].reset_index(drop=True)


def _shrunken(frame: pd.DataFrame) -> pd.Series:
    """Each cell's gain over scratch in the light of the others of its setting."""
    found = pd.Series(np.nan, frame.index)
    for _, rows in frame.groupby("setting"):
        known = rows["gain_over_scratch"], rows["gain_over_scratch_error"]
        found[rows.index] = shrink(*known, rows[["method", "teacher", "student"]])
    return found


def _verdicts(frame: pd.DataFrame) -> pd.Series:
    gain = frame["gain_over_scratch"]
    return verdicts(gain, *(frame[f"gain_over_scratch_{part}"] for part in ("low", "high", "p_bh")))


def _image_part(pair: pd.DataFrame, correct: Mapping[str, bytes]) -> tuple[float, float]:
    """Variance (squared points) and degrees of freedom that the test images give the gain of one cell; NaN
    where it has no run, the bits of one are not there, or its runs were tested on different numbers of images."""
    counts = set(pair["test_images"]) | set(pair["test_images_baseline"])
    wanted = [*pair["run_id"], *pair["run_id_baseline"]]
    bits = [correct[run] for run in wanted if run in correct]
    for run, images in zip(wanted, [*pair["test_images"], *pair["test_images_baseline"]], strict=True):
        if run in correct and pd.notna(images) and len(correct[run]) != -(-int(images) // 8):
            raise LedgerError(f"run {run}: bits of {len(correct[run]) * 8} test images, not of {int(images)}")
    if len(counts) != 1 or len(bits) < len(wanted) or not (images := next(iter(counts))) > 0:
        return float("nan"), float("nan")
    packed = np.frombuffer(b"".join(bits), np.uint8).reshape(2, len(pair), -1)
    right = np.unpackbits(packed, axis=2, count=int(images)).view(np.int8)
    variance, df = image_part(right[0] - right[1])
    return variance * 100**2, df


def _describe(methods: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Everything about each cell but its gains: one row of _COLUMNS per cell, in order of first appearance."""
    grouped = methods.groupby(CELL, sort=False)
    kept = ["study", "data", "teacher_family", "student_family", "rule", "weights"]
    table = methods.drop_duplicates(CELL).set_index(CELL)[kept]
    table["teacher_score"] = methods["teacher_score"].astype(float).groupby([methods[key] for key in CELL]).mean()
    table["options"] = grouped["options"].first()
    table["seeds_planned"], table["seeds_finished"] = grouped.size(), grouped["score"].count()
    shown = pairs.groupby(CELL)[["score", "score_baseline"]].agg(["mean", "std", "size"]).reindex(table.index)
    own = grouped["score"].agg(["mean", "std"])
    paired = shown["score", "size"].fillna(0).astype(int)
    for part in ("mean", "std"):
        table[f"score_{part}"] = shown["score", part].where(paired > 0, own[part])
        table[f"scratch_{part}"] = shown["score_baseline", part].astype(float)
    table["status"], table["reason"], worst = _states(methods, table["seeds_planned"], paired)
    table["failure_class"] = _words(worst, "failure_class", table.index)
    table["memory_measures"] = _words(methods, "memory_measures", table.index)
    return table.reset_index()[list(_COLUMNS)]


def _words(rows: pd.DataFrame, column: str, cell_index: pd.Index) -> pd.Series:
    """The different words of a column, per cell."""
    words = rows.dropna(subset=column).groupby(CELL)[column].agg(lambda found: "; ".join(sorted(set(found))))
    return words.reindex(cell_index, fill_value="").astype("str")


def _states(methods: pd.DataFrame, planned: pd.Series, paired: pd.Series) -> tuple[pd.Series, pd.Series, pd.DataFrame]:
    """Per cell the worst state among its seeds and why, in a few words; and the rows that are in that state."""
    rank = methods["status"].map(_WORST_FIRST.index)
    worst = methods[rank == rank.groupby([methods[key] for key in CELL]).transform("min")]
    grouped = worst.assign(why=worst["reason"].where(worst["reason"] != "")).groupby(CELL)
    status, why = (grouped[column].first().reindex(planned.index) for column in ("status", "why"))
    share = grouped["status"].size().reindex(planned.index)
    missing = planned - paired
    scratchless = "no finished scratch run for " + missing.astype(str) + " of " + planned.astype(str) + " seeds"
    scoreless = planned - methods.groupby(CELL, sort=False)["score"].count().reindex(planned.index)
    nothing = "no score was recorded for " + scoreless.astype(str) + " of " + planned.astype(str) + " seeds"
    scratchless = scratchless.where(scoreless == 0, nothing)
    part = share.astype(str) + " of " + planned.astype(str) + " seeds"
    part = part.where(share != planned, "")
    colon = pd.Series(": ", planned.index).where((part != "") & why.notna(), "")
    reason = (part + colon + why.fillna("")).where(status != "finished", scratchless.where(missing > 0, ""))
    return status, reason, worst

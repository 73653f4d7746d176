"""Numbers of the tables of a study on ledgers with known answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.cells import seed_gains
from analysis.frames import Frames, load
from analysis.ledger import write_epochs, write_run
from analysis.metrics import METRICS
from analysis.schema import RESULT_COLUMNS
from analysis.tables import failures, families, list_tables, methods, optimism, runs, settings, trials

Make = Callable[..., Any]
GAINS = {"kd": 1.0, "pat": 3.0}
STEPS = {"resnet_tiny": 0.0, "vit_mini": 1.0}


def exact(teacher: str, student: str, method: str, setting: str, seed: int) -> float:
    """Scratch 80 plus the seed; kd +1, pat +3, one more with the ViT teacher, half of it more if tuned; seed 3 adds
    another 0.3 to methods."""
    if method == "scratch":
        return 80.0 + seed
    own = GAINS[method] + STEPS[teacher] + (0.5 if setting == "tuned" else 0.0) + (0.3 if seed == 3 else 0.0)
    return 80.0 + seed + own


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory, make_square: Make) -> Frames:
    study = make_square(("cnn", "vit"), seeds=(1, 2, 3), trials=6, accuracy=exact)
    return load(study.write(tmp_path_factory.mktemp("study")))


def test_families(frames: Frames) -> None:
    table = families.prepare(frames).set_index(["teacher_family", "student_family", "method", "setting"])
    assert len(table) == 16 and set(table["pairs"]) == set(table["finished"]) == {1} and set(table["seeds"]) == {3}
    assert table.loc[("vit", "cnn", "pat", "tuned"), "gain"] == pytest.approx(4.6)
    cell = frames.cells.query("teacher_family == 'vit' and student_family == 'cnn' and method == 'pat'").iloc[-1]
    found = table.loc[("vit", "cnn", "pat", "tuned")]
    assert found[["low", "high"]].to_list() == cell[["gain_over_scratch_low", "gain_over_scratch_high"]].to_list()


def test_families_of_several_pairs(tmp_path: Path, make_twelve: Make) -> None:
    """Of two pairs of different students: their variances over three seeds add up, on four degrees of freedom."""
    table = families.prepare(load(make_twelve(seeds=(1, 2, 3)).write(tmp_path)))
    several = table[table["finished"] > 1].iloc[0]
    cells = load(tmp_path).matrix
    keys = ["teacher_family", "student_family", "method", "setting"]
    pairs = cells[(cells[keys] == several[keys]).all(axis=1)]
    scores = load(tmp_path).runs.set_index("run_id")["test_last_raw"]
    scratch = cells[cells["setting"] == "scratch"].set_index(["student", "seed"])["run_id"].map(scores)
    own = list(zip(pairs["student"], pairs["seed"], strict=True))
    gains = pairs["run_id"].map(scores).to_numpy() - scratch.loc[own].to_numpy()
    parts = pd.Series(gains).groupby(pairs["student"].to_numpy()).var() / 3 / 4
    assert len(parts) == 2 and len(pairs) == 6
    expected = stats.t.interval(0.95, 4, gains.mean(), np.sqrt(parts.sum()))
    assert several["gain"] == pytest.approx(gains.mean())
    assert (several["low"], several["high"]) == pytest.approx(expected)


def test_methods(frames: Frames) -> None:
    table = methods.prepare(frames).set_index(["setting", "method"])
    assert list(table.index) == [(s, m) for s in ("default", "tuned") for m in ("kd", "pat")]
    pat = table.loc[("tuned", "pat")]
    assert pat["gain"] == pytest.approx(3 + 0.5 + 0.5 + 0.1) and pat["pairs"] == 4 and pat["seeds"] == 3
    assert table["mean_rank"].to_list() == [2, 1, 2, 1] and (pat["wins"], pat["losses"]) == (4, 0)
    assert np.isnan(table.loc[("tuned", "kd"), "wins"])
    assert pat["friedman_p"] == pytest.approx(2.0 ** -(4 - 1)), "all four pairs rank alike"
    error = np.sqrt(2 * (0.5 * np.std([4.0, 4.0, 4.3], ddof=1)) ** 2 / 3)
    expected = stats.t.interval(0.95, 4, 4.1, error)
    assert (pat["low"], pat["high"]) == pytest.approx(expected), "two students with a half each"
    assert pat["p_holm"] == pytest.approx(2 * min(pat["p"], table.loc[("tuned", "kd"), "p"]))
    own, mean = 0.03 / 3, 2 * 0.5**2 * 0.03 / 3
    assert pat["spread"] ** 2 == pytest.approx(np.var([0, 0, 1, 1], ddof=1) - 4 * (own - mean) / 3)


def test_families_count_the_seeds_that_all_their_pairs_have(tmp_path: Path, make_twelve: Make) -> None:
    study = make_twelve(seeds=(1, 2, 3), methods=("kd",), settings=("default",))
    study.states = {(*study.pairs[0], "kd", "default", 2): ("running", "")}
    table = families.prepare(load(study.write(tmp_path)))
    (lacking,) = table.index[table["seeds"] == 2]
    teacher, student = (study.families[name] for name in study.pairs[0])
    assert (table["teacher_family"][lacking], table["student_family"][lacking]) == (teacher, student)
    assert set(table["seeds"].drop(lacking)) == {3}


def test_what_is_better_is_counted_after_the_correction(frames: Frames) -> None:
    """Over KD by sign, over scratch by sign where Holm's p says so."""
    cells = frames.cells.assign(gain_over_scratch_p=0.001, gain_over_scratch_p_holm=0.9)
    pat = cells.index[(cells["method"] == "pat") & (cells["setting"] == "tuned")]
    cells.loc[pat, "gain_over_scratch"] = [1.0, 1.0, -1.0, 1.0]
    cells.loc[pat, "gain_over_scratch_p_holm"] = [0.01, 0.06, 0.01, 0.049]
    cells.loc[pat, "gain_over_kd"] = [-1.0, 2.0, -1.0, 0.0]
    other = replace(frames)
    other.__dict__["cells"] = cells
    found = methods.prepare(other).set_index(["setting", "method"])
    assert found.loc[("tuned", "pat"), ["better", "worse", "wins", "losses"]].to_list() == [2, 1, 1, 2]
    assert found.loc[("tuned", "kd"), ["better", "worse"]].to_list() == [0, 0]


def test_the_interquartile_mean_leaves_out_the_ends(tmp_path: Path, make_square: Make) -> None:
    frames = load(make_square(methods=("kd",), settings=("default",)).write(tmp_path))
    row = methods.prepare(frames).iloc[0]
    gains = seed_gains(frames.matrix, frames.runs)["gain_over_scratch"]
    assert row["iqm"] == pytest.approx(stats.trim_mean(gains, 0.25)) and row["gain"] == pytest.approx(gains.mean())
    assert row["iqm_low"] < row["iqm"] < row["iqm_high"] and abs(row["iqm"] - row["gain"]) > 0.01


def test_methods_are_compared_on_the_same_pairs(tmp_path: Path, make_square: Make) -> None:
    states = {
        ("vit_mini", "vit_nano", "pat", "tuned"): ("failed", "why"),
        ("", "resnet_nano", "scratch", "scratch", 2): ("waiting", ""),
    }
    frames = load(make_square(("cnn", "vit"), seeds=(1, 2, 3), accuracy=exact, states=states).write(tmp_path))
    table = methods.prepare(frames).set_index(["setting", "method"])
    assert set(table.loc["tuned", "pairs"]) == {3} and set(table.loc["default", "pairs"]) == {4}
    assert set(table["seeds"]) == {2}, "one student lacks a scratch run of seed 2"
    assert set(table.loc["tuned", "left_out"]) == {"pair vit_mini -> vit_nano; seed 2"}
    kd, pat = table.loc[("tuned", "kd")], table.loc[("tuned", "pat")]
    assert (kd["own_pairs"], pat["own_pairs"]) == (4, 3)
    assert pat["asked_gain"] == pytest.approx(0.75 * pat["own_gain"]), "the failed pair counts as scratch"


def test_settings(frames: Frames) -> None:
    table = settings.prepare(frames)
    assert len(table) == 8 and set(table["n"]) == {3} and not table["same_setting"].any()
    assert table["tuned_minus_default"].to_list() == pytest.approx([0.5] * 8)
    assert set(table["trials"]) == {6}
    best = trials.prepare(frames).groupby(["teacher", "student", "method"])["best"].max()
    assert table["search_score"].to_list() == pytest.approx(best.to_list())
    tuned = frames.matrix.query("setting == 'tuned'")
    confirmed = tuned["run_id"].map(frames.runs.set_index("run_id")["val_last_raw"]).astype(float)
    means = confirmed.groupby([tuned[name] for name in ("teacher", "student", "method")]).mean()
    assert table["confirmed_validation"].to_list() == pytest.approx(means.to_list())
    gap = table["search_score"] - table["confirmed_validation"]
    assert table["search_optimism"].to_list() == pytest.approx(gap.to_list())


def test_trials_are_in_their_order(frames: Frames) -> None:
    table = trials.prepare(frames)
    cell = table[table["method"] == "pat"].iloc[:6]
    assert cell["trial"].to_list() == [0, 1, 2, 3, 4, 5]
    assert cell["status"].to_list() == ["finished", "finished", "pruned", "finished", "finished", "failed"]
    finished = cell["score"].where(cell["status"] == "finished")
    assert cell["best"].to_list() == pytest.approx(finished.cummax().ffill().to_list())
    last = frames.epochs.set_index(["run_id", "epoch"])["val_score_raw"]
    reached = last.loc[list(zip(cell["run_id"], cell["epochs_done"], strict=True))]
    assert cell["score"].to_list() == pytest.approx(reached.to_list())


def test_the_optimism_of_the_search_reads_no_test_score(frames: Frames) -> None:
    nothing = {name: 0.0 for name in RESULT_COLUMNS if name.startswith("test_")}
    other = replace(frames, runs=frames.runs.assign(**nothing))
    columns = ["trials", "search_score", "confirmed_validation", "search_optimism"]
    pd.testing.assert_frame_equal(settings.prepare(other)[columns], settings.prepare(frames)[columns])


def test_a_trial_that_did_not_finish_is_never_the_best(frames: Frames) -> None:
    """A pruned or failed one may have scored more where it stopped."""
    early = frames.runs.loc[(frames.runs["phase"] == "search") & (frames.runs["status"] != "finished"), "run_id"]
    score = frames.epochs["val_score_raw"].where(~frames.epochs["run_id"].isin(early), 99.5)
    other = replace(frames, epochs=frames.epochs.assign(val_score_raw=score))
    assert (trials.prepare(other)["score"] == 99.5).sum() == len(early)
    pd.testing.assert_series_equal(trials.prepare(other)["best"], trials.prepare(frames)["best"])
    assert settings.prepare(other)["search_score"].equals(settings.prepare(frames)["search_score"])


def test_the_score_of_a_trial_is_that_of_its_last_epoch(frames: Frames) -> None:
    score = frames.epochs["val_score_raw"].where(frames.epochs["epoch"] > 1, 99.5)
    other = replace(frames, epochs=frames.epochs.assign(val_score_raw=score))
    pd.testing.assert_series_equal(trials.prepare(other)["score"], trials.prepare(frames)["score"])


def test_trials_are_in_the_order_of_their_drawing_not_of_time(
    tmp_path: Path, make_run: Make, make_square: Make
) -> None:
    folder = make_square(("cnn",), methods=("kd",)).write(tmp_path)
    start = make_run("x")["started"]
    names = {"teacher": "resnet_tiny", "student": "resnet_nano", "phase": "search", "method": "kd"}
    for minute, (run_id, place) in enumerate({"c": 2, "a": 0, "b": 1}.items()):
        write_run(folder, make_run(run_id, **names, started=start.replace(minute=minute), trial=place))
    assert trials.prepare(load(folder))["run_id"].to_list() == ["a", "b", "c"]


def test_trials_without_a_place_are_in_order_of_time(tmp_path: Path, make_run: Make, make_square: Make) -> None:
    folder = make_square(("cnn",), methods=("kd",)).write(tmp_path)
    start = make_run("x")["started"]
    names = {"teacher": "resnet_tiny", "student": "resnet_nano", "phase": "search", "method": "kd"}
    for place, run_id in enumerate("cab"):
        write_run(folder, make_run(run_id, **names, started=start.replace(minute=place)))
    assert trials.prepare(load(folder))["run_id"].to_list() == ["c", "a", "b"]


def test_optimism(frames: Frames) -> None:
    table = optimism.prepare(frames).set_index("method")
    assert dict(table["runs"]) == {"kd": 24, "pat": 24, "scratch": 6}
    assert table["over_last"].to_list() == table["over_best_val"].to_list() == pytest.approx([0.5] * 3)
    lucky = frames.runs["run_id"] == frames.matrix.query("method == 'kd'")["run_id"].iloc[0]
    best = frames.runs["test_best_test_raw"] + 2.4 * lucky
    table = optimism.prepare(replace(frames, runs=frames.runs.assign(test_best_test_raw=best))).set_index("method")
    assert (table.loc["kd", "over_last"], table.loc["kd", "largest"]) == pytest.approx((0.5 + 2.4 / 24, 2.9))


def test_optimism_reads_the_weights_that_are_shown(tmp_path: Path, make_square: Make, make_run: Make) -> None:
    folder = make_square(("cnn",), methods=("kd",), settings=("default",), seeds=(1,)).write(tmp_path)
    frames = load(folder)
    row = frames.runs.query("method == 'kd'").iloc[0]
    results = dict.fromkeys(RESULT_COLUMNS, 70.0) | {
        "test_best_test_raw": 79.0,
        "test_best_test_ema": 72.0,
        "test_best_val_ema": None,
    }
    write_run(folder, make_run(row["run_id"], **results, teacher=row["teacher"], student=row["student"]))
    frames = load(folder)
    frames.matrix["weights"] = "ema"
    found = optimism.prepare(frames).set_index("method").loc["kd"]
    assert found["over_last"] == pytest.approx(2.0) and np.isnan(found["over_best_val"])


def test_failures(tmp_path: Path, make_square: Make, make_run: Make) -> None:
    folder = make_square(("cnn",), methods=("kd",), seeds=(1,)).write(tmp_path)
    names = {"teacher": "t", "student": "s", "method": "pat", "phase": "search", "status": "failed"}
    for run_id, kind in (("a", "bug"), ("b", "bug"), ("c", "oom")):
        write_run(folder, make_run(run_id, **names, failure_class=kind, message=kind))
    write_run(folder, make_run("d", **names | {"status": "diverged"}, failure_class="diverged", message=None))
    table = failures.prepare(load(folder))
    assert table["failure_class"].to_list() == ["oom", "diverged", "bug"]
    assert table["runs"].to_list() == [1, 1, 2] and table["first_run"].to_list() == ["c", "d", "a"]
    assert table["retry"].to_list() == ["--retry failed", "--retry diverged", "--retry failed"]


def test_every_column_of_every_table_is_described_and_made(frames: Frames) -> None:
    for table in list_tables(METRICS["top1"]):
        frame = table.prepare(frames)
        assert set(table.shown) <= set(table.columns)
        assert table.arrow(frame).schema.names == list(table.columns), table.name
        missing = set(frame.columns) - set(table.columns)
        assert not missing, f"{table.name}: {missing}"


def test_the_runs_say_what_each_result_is() -> None:
    table = next(table for table in list_tables(METRICS["top1"]) if table.name == "runs")
    assert table.columns["val_best_val_ema"][1] == "val top-1 at the epoch best on validation, ema weights, percent"
    assert runs.prepare.__doc__


def test_an_epoch_without_its_run_is_no_trial(tmp_path: Path, make_square: Make, make_epochs: Make) -> None:
    folder = make_square(("cnn",), methods=("kd",)).write(tmp_path)
    write_epochs(folder, "e" * 16, make_epochs("e" * 16, 60.0))
    assert trials.prepare(load(folder)).empty

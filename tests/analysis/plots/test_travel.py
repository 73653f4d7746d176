"""What becomes of settings in other cells, and that nothing else of a report takes these runs for its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import summary
from analysis.arrays import scores
from analysis.frames import Frames, load
from analysis.plots import NothingToShow, compose_plot, list_plots, travel
from analysis.schema import FROM
from analysis.stats import mean_gain
from analysis.stats.ratio import ratio
from analysis.tables import list_tables
from analysis.travel import KINDS, trips
from tests.analysis.conftest import STUDENTS, TEACHERS

Make = Callable[..., Any]
PAIRS = [
    (TEACHERS[t], student) for t in ("cnn", "vit") for student in (STUDENTS["cnn"], STUDENTS["vit"], "resnet_pico")
]
EXCHANGE = {pair: [other for other in PAIRS if other != pair][place % 2 :: 2] for place, pair in enumerate(PAIRS)}
SHARES = {"student": 0.9, "families": 0.7, "other": 0.4}
TUNING = 2.0


def kind(pair: tuple[str, str], source: tuple[str, str]) -> str:
    """By hand: the teacher's name says its family, the student's too but for one more of the CNNs."""
    if pair[1] == source[1]:
        return "student"
    same = pair[0] == source[0] and {pair[1], source[1]} == {"resnet_nano", "resnet_pico"}
    return "families" if same else "other"


def made(make_square: Make, tuning: float = TUNING, **changes: Any) -> Any:
    def accuracy(teacher: str, student: str, method: str, setting: str, seed: int) -> float:
        noise = np.random.default_rng(list(f"{teacher}{student}{method}{setting}{seed}".encode())).normal(0, 0.2)
        if method == "scratch":
            return float(80 + noise)
        source = tuple(setting.removeprefix(FROM).split(":"))
        share = SHARES[kind((teacher, student), source)] if FROM in setting else float(setting == "tuned")
        return float(83 + tuning * share + noise)

    study = make_square(accuracy=accuracy, **changes)
    study.pairs, study.families = PAIRS, {**study.families, "resnet_pico": "cnn"}
    return study


@pytest.fixture(scope="module")
def frames(make_square: Make, tmp_path_factory: pytest.TempPathFactory) -> Frames:
    study = made(make_square, exchange=EXCHANGE, correct=True)
    study.states = {(*PAIRS[0], "kd", f"{FROM}{':'.join(EXCHANGE[PAIRS[0]][0])}", 102): ("failed", "no such pixels")}
    return load(study.write(tmp_path_factory.mktemp("travel")))


def test_shares_are_those_of_a_script(frames: Frames) -> None:
    """Recomputed run by run; the trip of which a seed has failed is in none."""
    score = frames.runs.set_index("run_id")["test_last_raw"]
    rows = pd.concat([frames.matrix, frames.exchange])
    of = {
        tuple(key): float(score[run_id])
        for *key, run_id in rows[["teacher", "student", "method", "setting", "seed", "run_id"]].to_numpy()
        if run_id is not None and pd.notna(score.get(run_id))
    }
    table = frames.table("travel").set_index(["method", "kind"])
    assert list(dict.fromkeys(table.index.get_level_values(0))) == ["all", "kd", "pat"]
    seeds = (101, 102, 103)
    for method in ("kd", "pat"):
        for name in KINDS:
            gained, tuning, scratch, students = [], [], [], []
            for pair in PAIRS:
                for source in EXCHANGE[pair]:
                    setting = f"{FROM}{':'.join(source)}"
                    keys = [(*pair, method, setting, seed) for seed in seeds]
                    if kind(pair, source) != name or any(key not in of for key in keys):
                        continue
                    default = [of[(*pair, method, "default", seed)] for seed in seeds]
                    gained.append([of[key] - low for key, low in zip(keys, default, strict=True)])
                    tuning.append(
                        [of[(*pair, method, "tuned", s)] - low for s, low in zip(seeds, default, strict=True)]
                    )
                    scratch.append(
                        [low - of["", pair[1], "scratch", "scratch", s] for s, low in zip(seeds, default, strict=True)]
                    )
                    students.append(pair[1])
            row, (up, down, base) = table.loc[(method, name)], map(np.array, (gained, tuning, scratch))
            assert row["trips"] == len(students) and row["tuning"] == pytest.approx(down.mean())
            assert row["survives"] == pytest.approx(up.mean() / down.mean())
            assert row[["survives_low", "survives_high"]].tolist() == pytest.approx(ratio(up, down, students)[1:3])
            assert row["kept"] == pytest.approx((up + base).mean() / (down + base).mean())
            assert row[["lost", "lost_low", "lost_high"]].tolist() == pytest.approx(mean_gain(down - up, students)[:3])
    assert table.loc[("all", "student"), "trips"] == sum(table.loc[(m, "student"), "trips"] for m in ("kd", "pat"))
    assert table.xs("other", level="kind")["trips"].to_dict() == {
        "all": 2 * table.loc[("pat", "other"), "trips"] - 1, "kd": table.loc[("pat", "other"), "trips"] - 1,
        "pat": table.loc[("pat", "other"), "trips"],
    }  # fmt: skip
    for name, share in SHARES.items():
        row = table.loc[("all", name)]
        assert row["survives_low"] < share < row["survives_high"] and row["survives_high"] < share + 0.4
    stayed = table.loc[("all", "default")]
    assert stayed["survives"] == 0 and stayed["trips"] == 2 * len(PAIRS)
    assert stayed["kept_low"] < 3 / 5 < stayed["kept_high"] and stayed["lost"] == pytest.approx(stayed["tuning"])


def test_nothing_else_of_the_report_moves(frames: Frames, make_square: Make, tmp_path: Path) -> None:
    without = load(made(make_square, correct=True).write(tmp_path))
    assert len(frames.exchange) > 60 and without.exchange.empty
    pd.testing.assert_frame_equal(frames.matrix, without.matrix)
    assert set(frames.matrix["setting"]) == {"scratch", "default", "tuned"} and frames.correct == without.correct
    for table in list_tables(frames.metric):
        if table.name not in ("travel", "runs", "epochs", "costs", "failures"):
            pd.testing.assert_frame_equal(frames.table(table.name), without.table(table.name), obj=table.name)
    for setting in ("default", "tuned"):
        for name, array in scores(frames, setting).items():
            assert np.array_equal(array, scores(without, setting)[name], equal_nan=True)
    assert summary.methods(frames) == summary.methods(without)
    assert summary.heading(frames) == summary.heading(without)
    assert "travel" in list_plots()


def test_a_study_without_an_exchange_has_none(make_square: Make, tmp_path: Path) -> None:
    alone = load(make_square(("cnn",)).write(tmp_path))
    assert len(trips(alone).frame) == 0 and alone.table("travel").empty
    with pytest.raises(NothingToShow, match=r"no setting was tried in another cell \(--exchange N\)"):
        compose_plot("travel", alone)


def test_the_figure(frames: Frames, faults: Any) -> None:
    (drawing,) = compose_plot("travel", frames)
    assert faults(drawing.figure) == []
    table = frames.table("travel").set_index(["method", "kind"])
    texts = [text.get_text() for text in drawing.figure.axes[0].texts]
    for name in KINDS:
        row = table.loc[("all", name)]
        assert f"{100 * row['survives']:.0f} %" in texts
        assert f"{100 * row['survives_low']:.0f} to {100 * row['survives_high']:.0f}" in texts
    assert "The default setting keeps 60 % (" in drawing.caption or "keeps 59 %" in drawing.caption
    frame = travel.prepare(frames)
    assert frame["pooled"].sum() == 3 and len(frame) == 9


def test_one_method_is_the_whole(make_square: Make, tmp_path: Path, faults: Any) -> None:
    alone = load(made(make_square, exchange=EXCHANGE, methods=("pat",)).write(tmp_path))
    assert set(alone.table("travel")["method"]) == {"pat"}
    (drawing,) = compose_plot("travel", alone)
    assert faults(drawing.figure) == [] and not drawing.figure.legends


def test_it_does_not_stand_on_noise(make_square: Make, tmp_path: Path) -> None:
    """Where tuning has no clear gain there is nothing of which a share could be left; the table says what is lost."""
    noise = load(made(make_square, tuning=0.0, exchange=EXCHANGE).write(tmp_path))
    with pytest.raises(NothingToShow, match=r"tuning gains .* percentage points over the default settings here: too"):
        compose_plot("travel", noise)
    table = noise.table("travel")
    assert table.loc[table["kind"] != "default", "lost_low"].notna().any()

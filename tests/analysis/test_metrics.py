"""Studies of other metrics: no text of their reports speaks of accuracy, each in the words of its own metric."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from analysis import ledger
from analysis.frames import Frames, load
from analysis.metrics import METRICS
from analysis.page import Picture, Report, page
from analysis.plots import Drawing, NothingToShow, compose_plot, list_plots
from analysis.report import _shown, write_tables_only
from analysis.schema import LedgerError
from analysis.tables import details, list_tables, published

Make = Callable[..., Any]
OTHERS = ("map", "miou", "explained")
DATA = {"map": "coco", "miou": "camvid", "explained": "imagenet"}
DETAILS: dict[str, dict[str, float]] = {
    "map": {"ap50": 8.0, "ap75": 1.0, "aps": -9.0, "apm": 2.0, "apl": 4.0},
    "miou": {"pixel_accuracy": 6.0},
    "explained": {},
}
FOREIGN = {
    "map": "accurac|top-1|percentage point|iou point|mean iou|explained share",
    "miou": "accurac|top-1|percentage point|box ap|ap points|explained share",
    "explained": "accurac|top-1|box ap|ap points|miou|mean iou",
}
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x05\x78\x00\x00\x02\x58"


@pytest.fixture(scope="module", params=OTHERS)
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, make_twelve: Make) -> Path:
    """Five of the published pairs, with searches, further scores, and bits that such a metric should not have."""
    metric = request.param
    made = make_twelve(
        seeds=(1, 2), trials=12, methods=("kd", "ofa", "pat"), metric=metric, details=DETAILS[metric], correct=True
    )
    made.pairs, made.data = made.pairs[:5], DATA[metric]
    return Path(made.write(tmp_path_factory.mktemp(metric)))


@pytest.fixture(scope="module")
def frames(study: Path) -> Frames:
    return load(study)


@pytest.fixture(scope="module")
def metric(frames: Frames) -> str:
    return next(name for name, metric in METRICS.items() if metric is frames.metric)


@pytest.fixture(scope="module")
def drawings(frames: Frames) -> list[Drawing]:
    found = []
    for name in list_plots():
        try:
            found += compose_plot(name, frames)
        except NothingToShow:
            assert name in ("prompts", "predictors", "travel") or (
                name == "published_scatter" and frames.data != "coco"
            ), name
    return found


def foreign(metric: str, text: str) -> list[str]:
    """What another metric's words are in a text; pixel accuracy is a name, and of the columns' files none is read."""
    plain = re.sub("pixel[_ ]accuracy|data:image/png;base64,[A-Za-z0-9+/=]*", "", text)
    return [
        plain[max(0, found.start() - 60) : found.end() + 20] for found in re.finditer(f"(?i){FOREIGN[metric]}", plain)
    ]


def texts(drawing: Drawing) -> Iterator[str]:
    yield from (drawing.title, drawing.caption)
    for artist in drawing.figure.findobj(Text):
        assert isinstance(artist, Text)
        yield artist.get_text()


def test_every_table_and_the_summary(study: Path, metric: str) -> None:
    summary = write_tables_only(study)
    files = [path for path in (study / "report").rglob("*") if path.suffix in (".md", ".csv", ".tex")]
    assert len(files) > 30
    for path in files:
        head = path.read_text() if path.suffix != ".csv" else path.read_text().partition("\n")[0]
        assert not foreign(metric, head), path.name
    words = METRICS[metric]
    for phrase in (
        f"Test {words.plain} in percent, mean",
        f"Teacher {words.short}: the teacher's own test {words.plain}",
        f"| teacher {words.short}",
        f"Gain in {words.points}",
        f"Test {words.plain} at the best test epoch",
        "is not a mean over images",
    ):
        assert phrase in summary, phrase
    meanings = (study / "report" / "tables" / "README.md").read_text()
    for phrase in (f"validation {words.short}, percent, raw weights", f"mean gain over scratch, {words.points}"):
        assert phrase in meanings, phrase
    assert "images_low" not in meanings and "images_low" not in (study / "report/tables/cells.csv").read_text()


def test_every_figure(drawings: list[Drawing], metric: str) -> None:
    found = {drawing.name: list(texts(drawing)) for drawing in drawings}
    bad = {name: wrong for name, lines in found.items() if (wrong := foreign(metric, "\n".join(lines)))}
    assert not bad
    words = METRICS[metric]
    for name, phrase in {
        "gain_heatmap": f"gain over scratch ({words.points})",
        "gain_bars": f"gain over scratch ({words.points})",
        "family_matrix": f"mean gain over scratch ({words.points})",
        "cost_gain": f"gain over scratch ({words.points})",
        "performance_profile_tuned": f"threshold ({words.points})",
        "learning_curves": words.axis("validation {plain}"),
        "search_progress": words.axis("best validation {plain} so far"),
        "response_pat": words.axis("validation {plain}"),
        "transfer_pat": f"regret ({words.points})",
    }.items():
        assert phrase in found[name], (name, found[name])
    assert any(f"Test {words.plain} on {DATA[metric]}" in line for line in found["gain_bars"])


def test_the_page(frames: Frames, drawings: list[Drawing], metric: str) -> None:
    shown = [_shown(table, table.prepare(frames)) for table in list_tables(frames.metric)]
    pictures = [Picture(drawing.name, drawing.title, drawing.caption, PNG) for drawing in drawings]
    text, words = page(Report(frames, shown, pictures)), METRICS[metric]
    assert not foreign(metric, text)
    assert f"In {words.points} of test {words.plain}. Mean: over the pairs and seeds" in text
    assert f"in {words.points} of test {words.plain}, with half the width" in text
    assert f"<li>{words.no_images}</li>" in text and "seeds and images" not in text
    assert re.search(rf"gain is [+−][0-9.]+ {words.points}: ", text)
    lines = re.search('<script type="application/json" id="cells">(.*)</script>', text)
    assert lines is not None
    details = dict(json.loads(lines[1])[0]["lines"])
    assert re.fullmatch(rf"[0-9.]+ {re.escape(words.unit)} \(SD [0-9.]+\)", details[words.plain])
    assert details["teacher"] == f"95.00 {words.unit}"


def test_no_image_has_a_part_in_any_interval(study: Path, frames: Frames) -> None:
    """Though bits are there; and the variance of gains has no floor of one image's share."""
    assert frames.correct and frames.cells.filter(like="_images_").isna().all(axis=None)
    top1 = dataclasses.replace(frames, matrix=frames.matrix.assign(metric="top1"))
    assert top1.cells["gain_over_scratch_images_low"].notna().all()
    assert not frames.cells["gain_over_scratch_low"].equals(top1.cells["gain_over_scratch_low"])
    unknown = dataclasses.replace(top1, runs=frames.runs.assign(test_images=None), correct={})
    pd.testing.assert_frame_equal(frames.cells, unknown.cells)


def test_further_scores_are_means_over_seeds(frames: Frames, metric: str) -> None:
    tables = {table.name: table for table in list_tables(frames.metric)}
    if not DETAILS[metric]:
        assert "details" not in tables
        return
    table = details.prepare(frames)
    assert tables["details"].arrow(table).column_names == list(table.columns)
    for name, above in DETAILS[metric].items():
        np.testing.assert_allclose(table[name] - table["score"], above)
    cells = table.merge(frames.cells, on=["teacher", "student", "method", "setting"], suffixes=("", "_cell"))
    assert len(cells) == len(frames.cells) and (cells["n"] == 2).all()
    np.testing.assert_allclose(cells["score"], cells["score_mean"])
    scratch = table[table["method"] == "scratch"]
    assert set(scratch["student"]) == set(frames.cells["student"]) and (scratch["teacher"] == "").all()


def test_runs_without_further_scores_are_left_out(make_square: Make, tmp_path: Path) -> None:
    assert details.prepare(load(make_square(("cnn",), metric="map").write(tmp_path / "none"))).empty
    folder = make_square(("cnn",), metric="map", details={"ap50": 1.0}).write(tmp_path / "some")
    row = ledger.read_run(folder, load(folder).matrix["run_id"].iloc[-1])
    assert row is not None
    ledger.write_run(folder, row | {"details": None})
    table = details.prepare(load(folder))
    assert table["n"].to_list().count(2) == 1 and table["n"].max() == 3 and table["ap75"].isna().all()


def test_published_boxes_stand_beside_boxes(frames: Frames, metric: str) -> None:
    rows = published.prepare(frames)
    if metric != "map":
        assert rows.empty
        return
    row = rows.query("method == 'pat' and student == 'resnet18' and setting == 'tuned'").iloc[0]
    assert (row["published_score"], row["published_scratch"]) == (35.62, 33.26)
    assert row["published_gain"] == pytest.approx(2.36)
    assert "Detectron2" in row["differences"] and "their rule: not stated" in row["differences"]
    assert set(rows["method"]) == {"kd", "ofa", "pat"} and "OFA's values" not in "".join(rows["differences"])


def test_a_study_of_classification_has_no_detection_beside_it(make_twelve: Make, tmp_path: Path) -> None:
    made = make_twelve(methods=("pat",), settings=("default",), seeds=(1,))
    made.data = "coco"
    assert published.prepare(load(made.write(tmp_path))).empty


def test_two_metrics_are_not_one_study(make_square: Make, tmp_path: Path) -> None:
    folder = make_square(("cnn",), metric="map").write(tmp_path)
    rows = ledger.read_matrix_rows(folder)
    ledger.write_matrix(folder, [rows[0] | {"metric": "miou"}, *rows[1:]])
    with pytest.raises(LedgerError, match="scores of different kinds, map, miou: a study has one"):
        load(folder)
    with pytest.raises(LedgerError, match="'metric' of a matrix row is 'loss'; allowed: top1, map, miou, explained"):
        ledger.write_matrix(folder, [rows[0] | {"metric": "loss"}])


def test_a_pre_training_of_another_metric_is_part_of_a_study(make_square: Make, make_run: Make, tmp_path: Path) -> None:
    folder = make_square(("cnn",), metric="map").write(tmp_path)
    before = load(folder).cells
    names = {"teacher": "resnet_tiny", "method": "hgkd", "metric": "explained", "task": "generation"}
    ledger.write_run(folder, make_run("f" * 16, phase="pretrain", **names))
    pd.testing.assert_frame_equal(load(folder).cells, before)
    assert "pretrain 0.00" in write_tables_only(folder)


def test_top_1_is_called_as_it_always_was(make_square: Make, tmp_path: Path) -> None:
    text = write_tables_only(make_square(("cnn",)).write(tmp_path))
    assert "Test accuracy in percent" in text and "Gain in percentage points" in text
    assert "| teacher top-1 |" in text and "intervals over seeds and test images: report" in text
    assert "not a mean over images" not in text

"""The page: self-contained, deterministic, escaped, honest about what was found, and small for large studies."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.frames import Frames, load
from analysis.live import Driver
from analysis.page import Picture, Report, Shown, page
from analysis.page.downstream import downstream_rows
from analysis.page.embed import COLUMN_BYTES, embedded, script_json
from analysis.page.headline import cautions, findings
from analysis.page.matrix import matrix
from analysis.page.rows import by_method, signed
from analysis.page.spent import read_forecast

Make = Callable[..., Any]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028&\"'"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x05\x78\x00\x00\x02\x58"
WAITING = {("vit_mini", "vit_nano", "pat", "tuned"): ("waiting", "search")}
FAILED = {("resnet_tiny", "resnet_nano", "kd", "default"): ("failed", "RuntimeError: a loss of 4 < 5")}


class Reader(HTMLParser):
    """Every tag with its attributes, and the text inside <script> elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._script = tag == "script"
        if self._script:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._script = self._script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory, make_square: Make) -> Frames:
    folder: Path = make_square(states=WAITING | FAILED).write(tmp_path_factory.mktemp("study"))
    return load(folder)


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory, make_twelve: Make) -> Frames:
    return load(make_twelve(methods=("kd", "dist", "pat")).write(tmp_path_factory.mktemp("twelve")))


def report(frames: Frames) -> Report:
    tables = [Shown("cells", "Cells", "One row a cell.", frames.cells, {"n": "seeds"}, ("study", "data"))]
    picture = Picture("gain_heatmap", "Gain", "Over scratch.", PNG)
    return Report(frames, tables, [picture], {"radar": "one method only"})


def test_it_needs_nothing_from_outside(frames: Frames) -> None:
    text = page(report(frames))
    found = Reader(text)
    for tag, attributes in found.tags:
        assert tag not in ("iframe", "object", "embed", "base"), tag
        for name in ("src", "href", "action", "data"):
            target = attributes.get(name) or ""
            assert not re.match("([a-z]+:)?//|http", target), (tag, target)
            if tag in ("img", "link", "script") and name in ("src", "href"):
                assert target == "" or target.startswith("data:"), (tag, target)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert "fetch(" not in found.scripts[-1] and "XMLHttpRequest" not in found.scripts[-1]
    assert "innerHTML" not in found.scripts[-1], "the script writes text, never markup"
    assert "figures/gain_heatmap.svg" in text and "tables/cells.parquet" in text and "radar: one method only" in text


def test_equal_input_gives_equal_text(frames: Frames) -> None:
    assert page(report(frames)) == page(report(dataclasses.replace(frames)))


def test_refresh_only_where_asked(frames: Frames) -> None:
    still, live = page(report(frames)), page(report(frames), refresh=30)
    assert 'http-equiv="refresh"' not in still and 'id="refreshed"' not in still
    assert '<meta http-equiv="refresh" content="30">' in live and "Refreshed every 30 s" in live


def test_hostile_names_stay_text(tmp_path: Path, make_square: Make, make_run: Make) -> None:
    """Model names, messages, reasons, options, hosts, commands and study.json: nothing becomes markup."""
    from analysis.ledger import write_run
    from analysis.storage import write_file

    study = make_square(("cnn",), states={("resnet_tiny", "resnet_nano", "pat", "tuned"): ("failed", HOSTILE)})
    study.pairs = [("resnet_tiny", "resnet_nano"), ("t" + HOSTILE, "s" + HOSTILE)]
    study.families |= {"t" + HOSTILE: HOSTILE, "s" + HOSTILE: "cnn"}
    study.methods = ("kd", "pat", "m" + HOSTILE)
    study.write(tmp_path)
    options = json.dumps({HOSTILE: HOSTILE})
    names = {"phase": "search", "status": "failed", "failure_class": "bug", "message": HOSTILE, "options": options}
    write_run(tmp_path, make_run("odd", **names, device=HOSTILE, host=HOSTILE, git_commit=HOSTILE))
    write_file(tmp_path, "study.json", json.dumps({"name": HOSTILE, "data": {"name": HOSTILE}}).encode())
    frames = load(tmp_path)
    driver = Driver(HOSTILE, 1, pd.Timestamp(0, tz="UTC").to_pydatetime(), HOSTILE, "done", 1, 0.5, (), {})
    frames = dataclasses.replace(frames, driver=driver)
    shown = Shown("runs", HOSTILE, HOSTILE, frames.runs.drop(columns="config"), {"run_id": HOSTILE})
    text = page(Report(frames, [shown], [Picture("f", HOSTILE, HOSTILE, PNG)], {HOSTILE: HOSTILE}))
    found = Reader(text)
    assert not any(attributes.get("onerror") or attributes.get("src") == "x" for _, attributes in found.tags)
    assert len(found.scripts) == 3 and text.count("<script") == 3, "the cells, the runs and the page's own"
    assert "alert(1)" in found.scripts[1] and html.escape(HOSTILE).split("<")[0][:20] in text
    data = json.loads(found.scripts[1])
    message = next(column for column in data["columns"] if column["name"] == "message")
    assert HOSTILE in message.get("w", message["v"]), "and it is read back as it was"
    details = json.loads(found.scripts[0])
    assert any(HOSTILE in cell["title"] for cell in details)


def test_one_pre_training_brings_several_studies_to_one_page(tmp_path: Path, make_square: Make, make_run: Make) -> None:
    """Each in the words of its metric; one that begins with another pre-training, or cannot be read, is left out."""
    from analysis.ledger import write_run

    for name, metric, methods in (
        ("boxes", "map", ("hgkd", "kd")),
        ("classes", "top1", ("hgkd", "longer")),
        ("other", "top1", ("hgkd",)),
    ):
        study = make_square(("cnn",), methods=methods, metric=metric, data=f"{name} data", settings=("default",))
        folder = study.write(tmp_path / name)
        before = {"phase": "pretrain", "method": "hgkd", "metric": "explained", "task": "generation"}
        write_run(folder, make_run("otherotherother1" if name == "other" else "beforebeforebef1", **before))
    (tmp_path / "broken" / "runs" / "beforebeforebef1").mkdir(parents=True)
    frames = load(tmp_path / "classes")
    rows = downstream_rows(frames)
    assert [(row["learnt"], row["method"]) for row in rows] == [
        ("top-1 accuracy on classes data", "longer, default"),
        ("top-1 accuracy on classes data", "H-GKD, default"),
        ("box AP on boxes data", "H-GKD, default"),
    ]
    cell = load(tmp_path / "boxes").cells.set_index("method").loc["hgkd"]
    assert rows[2]["gain"] == signed(cell["gain_over_scratch"]) and rows[2]["score"] == f"{cell['score_mean']:.2f}"
    text = page(report(frames))
    assert "One pre-training, several studies" in text and "box AP on boxes data" in text
    assert downstream_rows(load(tmp_path / "other")) == [], "nobody else begins with it"
    assert downstream_rows(dataclasses.replace(frames, place="s3://bucket/classes")) == []
    assert "One pre-training" not in page(report(load(tmp_path / "other")))


def test_json_inside_a_script() -> None:
    text = str(script_json({"a": HOSTILE, "b": "<!--", "c": None}))
    assert not re.search("[<>&\u2028]", text) and json.loads(text) == {"a": HOSTILE, "b": "<!--", "c": None}


def test_a_table_as_columns() -> None:
    frame = pd.DataFrame(
        {
            "run_id": ["a", "b", "c", "d"],
            "method": ["kd", "kd", "kd", None],
            "gain": [1.23456789, np.nan, -2.0, 3.0],
            "seed": pd.array([1, None, 3, 2], dtype="Int64"),
            "gain_p_holm": [0.5, 1.0, np.nan, 1.0],
            "started": pd.to_datetime(["2026-01-01", None, "2026-01-02", "2026-01-02"], utc=True),
            "same": [True, False, True, True],
            "lr": [1e-5, 2.0, float("inf"), 3.0],
        }
    )
    columns = {column["name"]: column for column in embedded("t", frame, {"gain": "points"}, ["lr"]).content["columns"]}
    kinds = {name: column["kind"] for name, column in columns.items()}
    assert kinds == {
        "run_id": "run", "method": "text", "gain": "points", "seed": "int", "gain_p_holm": "p", "started": "text",
        "same": "text", "lr": "number",
    }  # fmt: skip
    assert columns["method"] | {"about": ""} == columns["method"] and columns["method"]["w"] == ["kd"]
    assert columns["method"]["v"] == [0, 0, 0, -1] and columns["gain"]["v"] == [1.23457, None, -2.0, 3.0]
    assert columns["seed"]["v"] == [1, None, 3, 2] and columns["lr"]["v"][2] is None and columns["lr"]["hidden"]
    assert columns["gain"]["about"] == "points"


def test_what_is_too_big_is_linked() -> None:
    long = pd.DataFrame({"config": [hashlib.sha256(bytes([i % 256, i // 256])).hexdigest() for i in range(20_000)]})
    assert embedded("runs", long, {}, ()).only_files == ["config"] and COLUMN_BYTES < 20_000 * 64
    many = pd.DataFrame({"epoch": range(60_000)})
    assert embedded("epochs", many, {}, ()).linked and not embedded("epochs", many, {}, ()).content["columns"]


def test_findings_of_noise_rank_nothing(tmp_path: Path, make_square: Make) -> None:
    def noise(teacher: str, student: str, method: str, setting: str, seed: int) -> float:
        digest = hashlib.sha256(f"{teacher}{student}{method}{setting}{seed}".encode()).digest()
        return 85 + float(np.random.default_rng(list(digest)).normal(0, 1))

    frames = load(make_square(accuracy=noise, seeds=(1, 2)).write(tmp_path))
    sentences = " ".join(findings(frames))
    assert "None of 2 methods is shown to help" in sentences and "cannot be told from no effect" in sentences
    assert "nothing is known yet: none of 18 cells (tuned setting) passes" in sentences
    assert "No method can be told from another over the 9 pairs" in sentences
    assert "As the largest of 18 it is too large: in the light of the other cells" in sentences
    notes = " ".join(cautions(frames))
    assert "36 of 36 cells rest on two seeds" in notes and "too small and easy to prove anything about PAT" in notes


def test_findings_of_real_gains(twelve: Frames) -> None:
    """The methods first, then how much pairs differ, then the cells."""
    sentences = findings(twelve)
    assert len(sentences) == 6
    mean = twelve.cells.query("method == 'pat' and setting == 'tuned'")["gain_over_scratch"].mean()
    assert re.match(r"[23] of 3 methods help over the same students without a teacher; the largest", sentences[0])
    assert f"PAT's, {mean:+.2f} percentage points on average over 12 pairs (95 % interval +" in sentences[0]
    assert sentences[1].startswith("On average KD +") and "Holm's correction over 3 methods" in sentences[1]
    assert "standard deviation of about" in sentences[2] and "of 12 pairs" in sentences[2]
    assert re.match(r"Of 36 cells \(tuned setting\), \d+ help", sentences[3]) and "not the same as no" in sentences[3]
    assert "PAT above" in sentences[4] and "a sign, not a proof" in sentences[4]
    assert re.search(r"The largest gain is \+\d\.\d\d percentage points: \w+ with \w+ → \w+ \(n = 3", sentences[5])
    rows = by_method(twelve)
    assert [row["method"] for row in rows[:3]] == ["KD", "DIST", "PAT"] and rows[0]["setting"] == "default"
    assert rows[-1]["mean"] == f"{mean:+.2f}" and rows[-1]["pairs"] == "12"


def test_before_scratch_is_trained_there_are_accuracies_and_gains_over_kd(tmp_path: Path, make_square: Make) -> None:
    states = {("", name, "scratch", "scratch"): ("waiting", "") for name in ("resnet_nano", "vit_nano")}
    frames = load(make_square(("cnn", "vit"), states=states).write(tmp_path))
    sentences = findings(frames)
    assert sentences[0] == "No cell has a gain over scratch yet." and len(sentences) == 3
    over = frames.cells.query("method == 'pat' and setting == 'tuned'")["gain_over_kd"].mean()
    assert "mean test accuracy" in sentences[1] and f"PAT {over:+.2f} (4)".replace("-", "−") in sentences[2]


def test_for_each_student_the_choice_of_validation(twelve: Frames) -> None:
    """Chosen by the mean validation score, not by the gain on the test set."""
    table, cells = twelve.table("best"), twelve.cells.query("setting == 'tuned'")
    assert set(table["student"]) == set(cells["student"]) and set(table["chosen_on"]) == {"validation"}
    better = cells["student"] == table["student"].iloc[0]
    taken = table.iloc[0]
    scores = twelve.runs.set_index("run_id")["val_last_raw"]
    means = twelve.matrix.query("setting == 'tuned'").assign(score=lambda rows: rows["run_id"].map(scores))
    means = means.groupby(["student", "teacher", "method"])["score"].mean()
    assert means[taken["student"]].idxmax() == (taken["teacher"], taken["method"]) and taken["choices"] == better.sum()
    assert table["run_cost"].to_list() == pytest.approx([1.0] * len(table)), "every made-up run takes as long"
    upside_down = twelve.runs.assign(val_last_raw=-twelve.runs["val_last_raw"])
    other = dataclasses.replace(twelve, runs=upside_down).table("best").iloc[0]
    assert means[other["student"]].idxmin() == (other["teacher"], other["method"])


def test_an_unfinished_study_says_so(frames: Frames) -> None:
    notes = " ".join(cautions(frames))
    assert "34 of 36 cells have all their seeds (1 failed, 1 waiting)" in notes
    assert "Cells without all of their runs: 1 failed" in notes
    text = page(report(frames))
    assert "a loss of 4 &lt; 5" in text and "--retry failed" in text


def test_a_running_study_tells_its_last_sign_of_life(frames: Frames) -> None:
    """Whether the driver is alive now is for the reader to judge: the page does not depend on when it is built."""
    beat = pd.Timestamp("2026-01-02 03:04:05", tz="UTC").to_pydatetime()
    driver = Driver("h", 1, beat, "", "", 1, None, (), {})
    text = page(Report(dataclasses.replace(frames, driver=driver)))
    assert "Last sign of life of its driver: 2026-01-02 03:04:05 UTC." in text and "The study is running: 34" in text
    ended = page(Report(dataclasses.replace(frames, driver=dataclasses.replace(driver, ended="stopped"))))
    assert "sign of life" not in ended and "The study is not complete: 34" in ended


def test_a_study_without_any_number(tmp_path: Path, make_square: Make) -> None:
    states = {("resnet_tiny", "resnet_nano", name, "tuned"): ("waiting", "") for name in ("kd", "pat", "scratch")}
    states |= {("resnet_tiny", "resnet_nano", name, "default"): ("waiting", "") for name in ("kd", "pat")}
    frames = load(make_square(("cnn",), states=states).write(tmp_path))
    assert findings(frames) == ["No cell has a gain over scratch yet."]
    assert 'class="cell missing"' in page(Report(frames))


def test_the_matrix(twelve: Frames) -> None:
    shown = matrix(twelve)
    assert [name for name, _ in shown.methods] == ["best", "kd", "dist", "pat"]
    assert list(shown.settings) == ["tuned", "default"]
    assert len(shown.panels) == 7 and len(shown.details) == len(twelve.cells) + 12
    best = [cell for row in shown.panels[0]["rows"] for cell in row["cells"] if cell["kind"] == "gain"]
    assert len(best) == 12 and {cell["method"] for cell in best} <= {"KD", "DIST", "PAT"}
    panel = shown.panels[-2]
    assert panel["method"] == "pat" and [family for family, _ in panel["families"]] == ["CNN", "ViT", "MLP"]
    assert sum(span for _, span in panel["families"]) == 5
    kinds = [cell["kind"] for row in panel["rows"] for cell in row["cells"]]
    assert kinds.count("gain") == 12 and kinds.count("absent") == 8
    row = twelve.cells.query("method == 'pat' and setting == 'tuned'").iloc[0]
    cell = next(cell for cell in panel["rows"][0]["cells"] if cell["kind"] == "gain")
    detail = shown.details[cell["index"]]
    assert detail["title"] == f"{row['teacher']} → {row['student']}" and "tuned" in detail["what"]
    lines = dict(detail["lines"])
    assert lines["seeds"] == "3 of 3" and lines["rule"] == "last epoch, raw weights" and lines["option weight"] == "2.0"
    assert lines["gain over scratch"] == f"{row['gain_over_scratch']:+.2f} points".replace("-", "−")
    assert [run["seed"] for run in detail["runs"]] == [101, 102, 103]
    wanted = twelve.matrix.query("method == 'pat' and setting == 'tuned'")
    wanted = wanted[(wanted["teacher"] == row["teacher"]) & (wanted["student"] == row["student"])]
    assert [run["run"] for run in detail["runs"]] == list(wanted["run_id"])
    scratch = twelve.matrix.query("setting == 'scratch'")
    assert [run["scratch"] for run in detail["runs"]] == list(scratch[scratch["student"] == row["student"]]["run_id"])


def test_significance_is_never_colour_alone(twelve: Frames) -> None:
    shown, cells = matrix(twelve), twelve.cells
    marked = [
        cell for panel in shown.panels[1:] for row in panel["rows"] for cell in row["cells"] if cell["kind"] == "gain"
    ]
    sure, strict = ([cell for cell in marked if found(cell)] for found in (lambda c: c["sure"], starred))
    assert len(sure) == int((cells["gain_over_scratch_p_bh"] < 0.05).sum()) >= len(strict)
    assert len(strict) == int((cells["gain_over_scratch_p_holm"] < 0.05).sum()) > 0
    assert all(cell["sure"] for cell in strict)
    assert all(("not known" in cell["label"]) != cell["sure"] for cell in marked if "matter" not in cell["label"])


def starred(cell: dict[str, Any]) -> bool:
    return str(cell["text"]).endswith("*")


def test_cost_beside_the_forecast(tmp_path: Path, make_square: Make) -> None:
    folder = make_square(("cnn",)).write(tmp_path)
    assert read_forecast(folder) == {}
    hours = {"teacher": 0.0, "scratch": 1.0, "search": 0.0, "confirm": 2.0}
    old, new = ({"written": f"2026-01-0{day}T00:00:00", "device_hours": hours, "sources": {}} for day in (1, 2))
    (folder / "forecast.json").write_text(json.dumps({"version": 1, "forecasts": {"a": new, "b": old}}))
    assert read_forecast(folder)["written"] == "2026-01-02T00:00:00"
    text = page(Report(load(folder)))
    assert "Predicted on 2026-01-02 00:00:00" in text and "<td>1.00</td>" in text
    (folder / "forecast.json").write_text("{")
    assert read_forecast(folder) == {}, "what cannot be read is left out"


def test_the_command_and_the_versions(frames: Frames) -> None:
    runs = frames.runs.assign(git_commit="a" * 40, torch=["2.10"] * (len(frames.runs) - 1) + ["2.11"])
    beat = pd.Timestamp(0, tz="UTC").to_pydatetime()
    driver = Driver("h", 1, beat, "sweeps/hetero_grid.py --preset digits", "done", 1, None, (), {})
    text = page(Report(dataclasses.replace(frames, runs=runs, driver=driver)))
    assert f"git checkout {'a' * 40}\npython sweeps/hetero_grid.py --preset digits\npython -m analysis report" in text
    assert re.search(r"2\.11 <small>\(1 runs?\)", text) and "The driver of this study left no command" in page(
        Report(frames)
    )

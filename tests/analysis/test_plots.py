"""Figures: the numbers exactly, the ink by its boxes: no text over another or over the edge of its figure."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.frames import Frames, load
from analysis.labels import shorten, wrap
from analysis.plots import STYLE, compose_plot, curves, heatmap, list_plots, register_plot

Make = Callable[..., Any]

TUNED_PAT = "method == 'pat' and setting == 'tuned'"
MISSING = {
    ("vit_mini", "mixer_nano", "pat", "tuned"): ("waiting", "search: 3 of 4 trials done"),
    ("vit_mini", "mixer_nano", "kd", "tuned"): ("running", ""),
    ("mixer_mini", "vit_nano", "pat", "default"): ("diverged", "loss became nan in epoch 3"),
    ("mixer_mini", "vit_nano", "pat", "tuned", 101): ("failed", "out of memory on a device with a very long name"),
    ("resnet_tiny", "vit_nano", "kd", "default"): ("failed", "OutOfMemoryErrorWithoutAnySpaceInItsName"),
}


def studies(make_square: Make, make_twelve: Make) -> dict[str, Any]:
    return {
        "3 x 3": make_square(),
        "3 x 3 with gaps": make_square(states=MISSING),
        "2 x 2, two seeds": make_square(("cnn", "vit"), seeds=(101, 102)),
        "one pair, one seed": make_square(("vit",), seeds=(101,)),
        "12 of 20": make_twelve(),
        "12 of 20, four methods, default only": make_twelve(methods=("kd", "pat", "ofa", "dkd"), settings=("default",)),
    }


def overlaps(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that, when the figure is saved, cover one another by more than a point or leave the figure."""
    drawn: dict[int, Text] = {}
    original = Text.draw

    def record(text: Text, *arguments: Any, **options: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            drawn[id(text)] = text
        original(text, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", record)
        figure.savefig(io.BytesIO(), format="png", dpi=figure.dpi)
    boxes = [(text.get_text(), text.get_window_extent()) for text in drawn.values()]
    margin, edge = figure.dpi / 72, figure.bbox
    faults = []
    for (first, a), (second, b) in itertools.combinations(boxes, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        if wide > margin and high > margin:
            faults.append(f"{first!r} covers {second!r}")
    for text, box in boxes:
        if min(box.x0, box.y0) < -1 or box.x1 > edge.x1 + 1 or box.y1 > edge.y1 + 1:
            faults.append(f"{text!r} leaves the figure")
    return faults


def test_the_overlap_check_sees_overlaps(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = Figure()
    figure.text(0.5, 0.5, "one")
    figure.text(0.51, 0.5, "two")
    figure.text(0.99, 0.9, "three")
    assert overlaps(figure, monkeypatch) == ["'one' covers 'two'", "'three' leaves the figure"]


@pytest.mark.parametrize("number", range(6))
def test_every_figure_of_every_shape(
    number: int, tmp_path: Path, make_square: Make, make_twelve: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, study = list(studies(make_square, make_twelve).items())[number]
    frames = load(study.write(tmp_path))
    for plot in list_plots():
        assert overlaps(compose_plot(plot, frames), monkeypatch) == [], f"{plot} of {name}"


def test_numbers_of_the_heat_map(tmp_path: Path, make_square: Make) -> None:
    frames = load(make_square(states=MISSING).write(tmp_path))
    frame = heatmap.prepare(frames)
    assert len(frame) == 9 * 2 * 2 and not frame.duplicated(["method", "setting", "row", "column"]).any()
    source = frames.cells.set_index(["method", "setting", "teacher", "student"])
    for row in frame.to_dict("records"):
        cell = source.loc[(row["method"], row["setting"], row["teacher"], row["student"])]
        if pd.isna(cell["gain_over_scratch"]):
            assert row["reason"]
            continue
        assert row["gain"] == cell["gain_over_scratch"] and not row["reason"]
        assert row["gain"] - row["half"] == pytest.approx(cell["gain_over_scratch_low"])
        assert row["outside"] == (abs(row["gain"]) > row["half"])
    assert set(frame["limit"]) == {max(0.5, -(-float(frame["gain"].abs().max()) * 2 // 1) / 2)}
    reasons = frame.set_index(["method", "setting", "teacher", "student"])["reason"]
    assert reasons["pat", "tuned", "vit_mini", "mixer_nano"] == "waiting: search: 3 of 4 trials done"
    assert reasons["kd", "tuned", "vit_mini", "mixer_nano"] == "running"
    partial = frame.query(f"{TUNED_PAT} and teacher == 'mixer_mini' and student == 'vit_nano'")
    assert (partial["n"].item(), partial["planned"].item()) == (2, 3)


def test_pairs_outside_the_study_are_marked(tmp_path: Path, make_twelve: Make) -> None:
    frame = heatmap.prepare(load(make_twelve().write(tmp_path)))
    assert (frame["reason"] == "not in study").sum() == 8 * 2 * 2 and len(frame) == 20 * 4
    rows = frame.drop_duplicates("row").sort_values("row")
    assert list(rows["teacher"]) == ["convnext_tiny", "swin_tiny", "vit_small", "mixer_b16"]
    assert list(rows["teacher_family"]) == ["cnn", "vit", "vit", "mlp"]


def test_ink_of_the_heat_map(tmp_path: Path, make_square: Make) -> None:
    frames = load(make_square(("cnn", "vit"), seeds=(101, 102), states={}).write(tmp_path))
    frame = heatmap.prepare(frames)
    panel = frame.query("method == 'pat' and setting == 'tuned'")
    ax = Figure().subplots()
    assert heatmap.draw(panel, ax) is ax
    bold = {text.get_text() for text in ax.texts if text.get_fontweight() == "bold"}
    assert bold == {f"{gain:+.2f}".replace("-", "−") for gain in panel.loc[panel["outside"], "gain"]}
    assert ax.get_title() == "PAT, tuned"
    figure = compose_plot("gain_heatmap", frames)
    labels = {axes.get_ylabel() for axes in figure.axes}
    assert "accuracy gain over scratch\n(percentage points)" in labels
    title = figure.get_suptitle()
    assert "digits" in title and "last epoch" in title and "only 2 seeds" in title


def test_panels_are_laid_out_by_methods_and_settings() -> None:
    def grid(methods: list[str], settings: list[str]) -> list[list[tuple[str, str]]]:
        return heatmap._grid(pd.DataFrame([{"method": m, "setting": s} for m in methods for s in settings]))

    assert grid(["pat", "kd"], ["default", "tuned"]) == [
        [("kd", "tuned"), ("pat", "tuned")],
        [("kd", "default"), ("pat", "default")],
    ]
    assert grid(["pat", "kd", "cc", "ofa"], ["default", "tuned"])[1] == [("cc", "tuned"), ("cc", "default")]
    alone = grid(["pat", "kd", "cc", "ofa"], ["default"])
    assert [[name for name, _ in row] for row in alone] == [["kd", "cc", "ofa"], ["pat", "", ""]]


def test_a_study_that_has_only_begun(tmp_path: Path, make_square: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing finished yet: every figure is drawn and says so."""
    keys = itertools.product(["resnet_tiny"], ["resnet_nano"], ["kd", "pat"], ["default", "tuned"])
    states = dict.fromkeys([*keys, ("", "resnet_nano", "scratch", "scratch")], ("waiting", ""))
    study = make_square(("cnn",), states=states)
    frames = load(study.write(tmp_path))
    for plot in list_plots():
        assert overlaps(compose_plot(plot, frames), monkeypatch) == []
    assert set(heatmap.prepare(frames)["reason"]) == {"waiting"} and curves.prepare(frames).empty


def test_numbers_of_the_curves(tmp_path: Path, make_square: Make) -> None:
    frames = load(make_square(("cnn", "vit"), epochs=5).write(tmp_path))
    frame = curves.prepare(frames)
    assert set(frame["method"]) == {"scratch", "kd", "pat"} and set(frame["setting"]) == {"scratch", "tuned"}
    assert len(frame) == 4 * 3 * 5 and set(frame["n"]) == {3} and set(frame["split"]) == {"val"}
    wanted = frames.matrix.query(f"{TUNED_PAT} and teacher == 'vit_mini' and student == 'vit_nano'")
    last = frames.epochs[frames.epochs["epoch"] == 5].set_index("run_id")
    values = last.loc[wanted["run_id"], "val_top1_raw"]
    row = frame.query("teacher == 'vit_mini' and student == 'vit_nano' and method == 'pat' and epoch == 5").iloc[0]
    assert (row["low"], row["high"]) == (values.min(), values.max()) and row["mean"] == pytest.approx(values.mean())


def test_curves_stop_where_a_running_seed_is(tmp_path: Path, make_square: Make) -> None:
    frames = load(make_square(("cnn",), epochs=5).write(tmp_path))
    (first, *_) = frames.matrix.query("method == 'pat' and setting == 'tuned'")["run_id"]
    epochs = frames.epochs[(frames.epochs["run_id"] != first) | (frames.epochs["epoch"] <= 3)]
    frame = curves.prepare(Frames(frames.matrix, frames.runs, epochs, frames.cells))
    assert frame.query("method == 'pat'")["epoch"].max() == 3 and frame.query("method == 'kd'")["epoch"].max() == 5


def test_curves_without_validation_images_show_test_and_say_so(tmp_path: Path, make_square: Make) -> None:
    frames = load(make_square(("cnn",)).write(tmp_path))
    epochs = frames.epochs.assign(val_top1_raw=float("nan"))
    changed = Frames(frames.matrix, frames.runs, epochs, frames.cells)
    assert set(curves.prepare(changed)["split"]) == {"test"}
    assert "no validation images" in compose_plot("learning_curves", changed).get_supylabel()


def test_the_registry_refuses_a_name_twice() -> None:
    assert list_plots() == ["gain_heatmap", "learning_curves"]
    with pytest.raises(ValueError, match="two figures are named 'gain_heatmap'"):
        register_plot("gain_heatmap")(heatmap.compose)
    assert STYLE["font.size"] >= 7


def test_short_labels() -> None:
    names = ["swin_tiny_patch4_window7_224", "deit_tiny_patch16_224.fb_in1k", "mobilenetv2_100", "mixer_b16_224"]
    assert list(shorten(names).values()) == ["deit_tiny", "mixer_b16", "mobilenetv2_100", "swin_tiny"]
    assert shorten(["vit_s_patch16_224", "vit_s_patch32_224"]) == {
        "vit_s_patch16_224": "vit_s_patch16",
        "vit_s_patch32_224": "vit_s_patch32",
    }
    assert set(shorten(["resnet50.a1_in1k", "resnet50.tv_in1k"]).values()) == {"resnet50_a1_in1k", "resnet50_tv_in1k"}


part = st.sampled_from(["vit", "tiny", "patch4", "patch16", "window7", "224", "384", "b16"])
name = st.lists(part, min_size=1, max_size=6)


@given(st.lists(name.map("_".join), max_size=12))
def test_labels_are_never_ambiguous(names: list[str]) -> None:
    labels = shorten(names)
    assert set(labels) == set(names) and len(set(labels.values())) == len(set(names))


@given(st.text(alphabet="abc_ .", max_size=60), st.integers(4, 20), st.integers(1, 3))
def test_wrapped_text_keeps_its_lines(text: str, width: int, lines: int) -> None:
    assert len(wrap(text, width, lines).split("\n")) <= lines

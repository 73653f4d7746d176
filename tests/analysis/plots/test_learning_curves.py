"""Learning curves: numbers of known epochs, what is left out, and what their words say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from analysis.frames import Frames, load
from analysis.plots import PAGE, compose_plot, learning_curves
from analysis.plots.looks import looks

Study = Callable[[str], Frames]


def test_numbers_of_the_curves(study: Study) -> None:
    frames = study("2 x 2, two seeds")
    frame = learning_curves.prepare(frames)
    assert set(frame["method"]) == {"scratch", "kd", "pat"} and set(frame["setting"]) == {"scratch", "tuned"}
    assert len(frame) == 4 * 3 * 4 and set(frame["n"]) == {2} and set(frame["split"]) == {"val"}
    wanted = frames.matrix.query(
        "method == 'pat' and setting == 'tuned' and teacher == 'vit_mini' and student == 'vit_nano'"
    )
    last = frames.epochs[frames.epochs["epoch"] == 4].set_index("run_id")
    values = last.loc[wanted["run_id"], "val_score_raw"]
    row = frame.query("teacher == 'vit_mini' and student == 'vit_nano' and method == 'pat' and epoch == 4").iloc[0]
    assert (row["low"], row["high"]) == (values.min(), values.max()) and row["mean"] == pytest.approx(values.mean())


def test_curves_stop_where_a_running_seed_is(study: Study) -> None:
    frames = study("2 x 2, two seeds")
    (first, *_) = frames.matrix.query("method == 'pat' and setting == 'tuned' and teacher == 'vit_mini'")["run_id"]
    epochs = frames.epochs[(frames.epochs["run_id"] != first) | (frames.epochs["epoch"] <= 3)]
    frame = learning_curves.prepare(dataclasses.replace(frames, epochs=epochs)).query("teacher == 'vit_mini'")
    last = frame.groupby(["student", "method"])["epoch"].max()
    assert sorted(last) == [3, 4, 4, 4, 4, 4] and sorted(last[:, "pat"]) == [3, 4]


def test_without_validation_images_test_is_shown_and_said(study: Study) -> None:
    frames = study("2 x 2, two seeds")
    changed = dataclasses.replace(frames, epochs=frames.epochs.assign(val_score_raw=float("nan")))
    assert set(learning_curves.prepare(changed)["split"]) == {"test"}
    (drawing,) = compose_plot("learning_curves", changed)
    assert "no validation images" in drawing.figure.get_supylabel() and "no validation images" in drawing.caption


def test_the_ink_of_a_panel(study: Study) -> None:
    frame = learning_curves.prepare(study("2 x 2, two seeds"))
    ax = Figure().subplots()
    look = looks(frame["method"])
    assert learning_curves.draw(frame[frame["pair"] == 0], ax) is ax
    assert [line.get_color() for line in ax.lines] == [look[name].colour for name in ("scratch", "kd", "pat")]
    assert len(ax.collections) == 3
    pat = frame.query("pair == 0 and method == 'pat'")
    assert list(ax.lines[2].get_ydata()) == list(pat["mean"])


def test_methods_without_a_line_are_named(study: Study) -> None:
    (drawing,) = compose_plot("learning_curves", study("3 x 3 with gaps"))
    notes = [text.get_text() for ax in drawing.figure.axes for text in ax.texts if text.get_text()]
    assert notes == ["KD: running\nPAT: waiting"]
    assert (
        "mean (line) and range (band) over 3 seeds" in drawing.caption and "no confidence interval" in drawing.caption
    )


def test_many_pairs_take_several_pages(tmp_path: Path, make_twelve: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_curves, "_DOWN", 2)
    study = make_twelve(methods=("kd",), settings=("default",), seeds=(101,))
    drawings = compose_plot("learning_curves", load(study.write(tmp_path)))
    assert [drawing.name for drawing in drawings] == ["learning_curves", "learning_curves_2"]
    assert [sum(bool(ax.get_title()) for ax in drawing.figure.axes) for drawing in drawings] == [8, 4]
    assert {drawing.figure.get_figwidth() for drawing in drawings} == {PAGE}

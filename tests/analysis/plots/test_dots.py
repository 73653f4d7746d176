"""Panels of dots: gains by pair and by family, their places, their axis, and the ink."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.frames import Frames
from analysis.plots import COLUMN, PAGE, NothingToShow, _dots, compose_plot, family_matrix, gain_bars
from analysis.plots._dots import beyond, draw_dots
from tests.analysis.conftest import given_table

Study = Callable[[str], Frames]
NAN = float("nan")


def gains(*rows: tuple[str, str, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["method", "setting", "gain", "low", "high"]).assign(reason="waiting")


def arrange(frame: pd.DataFrame) -> pd.DataFrame:
    return _dots.arrange(frame, frame["method"])


def test_rows_and_axis_of_known_gains() -> None:
    frame = arrange(gains(("pat", "tuned", 4, 3, 5), ("kd", "tuned", 1, 0, 2), ("kd", "default", -2, -3, -1)))
    assert list(frame["row"]) == [1, 0, 0] and set(frame["names"]) == {("KD", "PAT")}
    assert list(frame["height"]) == [0.76, -0.24, 0.24]
    assert (frame["left"].iloc[0], frame["right"].iloc[0]) == pytest.approx((-3 - 0.04 * 8, 5 + 0.04 * 8))
    assert beyond(frame) == []


def test_what_lies_far_outside_does_not_stretch_the_axis() -> None:
    frame = arrange(gains(("kd", "tuned", 1, 0, 2), ("pat", "tuned", 2, -30, 34), ("pat", "default", -45, -50, -40)))
    assert (frame["left"].iloc[0], frame["right"].iloc[0]) == pytest.approx((-30 - 2.56, 34 + 2.56))
    frame = arrange(
        gains(*[("kd", "tuned", 1, 0, 2)] * 2, ("pat", "tuned", 2, -30, 34), ("pat", "default", -45, -50, -40))
    )
    assert (frame["left"].iloc[0], frame["right"].iloc[0]) == pytest.approx((-2 - 0.24, 4 + 0.24))
    assert [text.split()[0:2] for text in beyond(frame)] == [["A", "triangle"], ["An", "interval"]]


def test_one_method_that_lost_on_a_few_pairs_does_not_stretch_the_axis() -> None:
    """A tuned loss of 25 on two of forty: at the edge, with its number."""
    rows = [("kd", "tuned", 0.1 * i, 0.1 * i - 0.5, 0.1 * i + 0.5) for i in range(38)]
    frame = arrange(gains(*rows, *[("fitnet", "tuned", -25, -26, -24)] * 2))
    assert frame["left"].iloc[0] > -2 and frame["right"].iloc[0] < 5
    assert beyond(frame)[0].startswith("A triangle at the edge")
    assert _dots.usual(pd.Series([-25.0, 1.0])) == (-25.0, 1.0), "of two gains none is unusual"


def test_one_setting_stands_in_the_middle_of_its_row_and_none_is_no_error() -> None:
    frame = arrange(gains(("kd", "default", 1, NAN, NAN), ("pat", "default", NAN, NAN, NAN)))
    assert list(frame["height"]) == [0, 1] and frame["left"].iloc[0] == pytest.approx(-0.1)
    nothing = arrange(gains(("kd", "default", NAN, NAN, NAN)))
    assert (nothing["left"].iloc[0], nothing["right"].iloc[0]) == pytest.approx((-0.1, 0.1))


def test_the_ink_of_a_panel() -> None:
    frame = arrange(
        gains(*[("kd", "tuned", 1, 0, 2)] * 2, ("pat", "tuned", NAN, NAN, NAN), ("pat", "default", -45, -50, -40))
    )
    ax = Figure().subplots()
    draw_dots(frame, ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["KD", "PAT"]
    assert {text.get_text() for text in ax.texts} == {"waiting", "−45.0"}
    assert [line.get_marker() for line in ax.lines].count("<") == 1


def test_numbers_by_pair(study: Study) -> None:
    frames = study("12 of 20, default only")
    frame = gain_bars.prepare(frames)
    families = list(dict.fromkeys(zip(frame["teacher_family"], frame["student_family"], strict=True)))
    assert len(families) == len(set(families)) and families[0] == ("cnn", "cnn")
    assert [part["pair"].iloc[0] for _, part in frame.groupby("pair")] == list(range(12))
    cells = frames.cells.sort_values("gain_over_scratch")
    shown = frame.sort_values("gain")
    for ours, theirs in (("gain", ""), ("low", "_low"), ("high", "_high")):
        assert list(shown[ours]) == list(cells[f"gain_over_scratch{theirs}"])
    assert set(frame["reason"]) == {""} and set(frame["height"]) == {0, 1, 2}


def test_states_of_cells_without_a_gain(study: Study) -> None:
    frame = gain_bars.prepare(study("3 x 3 with gaps"))
    lost = frame[frame["gain"].isna()].set_index(["method", "setting", "teacher", "student"])["reason"]
    assert lost["kd", "tuned", "vit_mini", "mixer_nano"] == "running" and set(lost) == {
        "running", "waiting", "failed", "diverged"
    }  # fmt: skip


def test_pairs_three_in_a_row_or_evenly(study: Study) -> None:
    (drawing,) = compose_plot("gain_bars", study("2 x 2, two seeds"))
    assert [len(drawing.figure.axes), drawing.figure.get_figwidth()] == [4, PAGE]
    assert {ax.get_subplotspec().get_gridspec().ncols for ax in drawing.figure.axes} == {2}
    assert "Filled: tuned setting; hollow: default setting." in drawing.caption
    (single,) = compose_plot("gain_bars", study("one pair, one seed"))
    assert single.figure.get_figwidth() == COLUMN and "No intervals" in single.caption
    assert "Marks: default setting." in compose_plot("gain_bars", study("12 of 20, default only"))[0].caption


def families(*rows: tuple[str, str, str, int, int, float]) -> pd.DataFrame:
    columns = ["teacher_family", "student_family", "method", "pairs", "finished", "gain"]
    frame = pd.DataFrame(rows, columns=columns).assign(setting="tuned", seeds=3)
    return frame.assign(low=frame["gain"] - 0.5, high=frame["gain"] + 0.5)


def test_the_family_matrix_of_known_numbers(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    table = families(
        ("vit", "cnn", "kd", 2, 2, 1.0),
        ("vit", "cnn", "pat", 2, 1, 2.0),
        ("cnn", "cnn", "kd", 1, 0, NAN),
        ("cnn", "cnn", "pat", 1, 1, -1.0),
        ("mlp", "vit", "kd", 3, 3, 0.25),
    )
    given_table(monkeypatch, "families", table)
    frame = family_matrix.prepare(study("2 x 2, two seeds"))
    assert list(frame["down"]) == [1, 1, 0, 0, 2] and list(frame["across"]) == [0, 0, 0, 0, 1]
    assert list(frame["reason"]) == ["", "", "none finished", "", ""]
    (drawing,) = compose_plot("family_matrix", study("2 x 2, two seeds"))
    texts = {text.get_text() for ax in drawing.figure.axes for text in ax.texts}
    assert {"CNN → CNN", "ViT → CNN", "MLP → ViT", "+1.00", "+2.00 (1/2)", "−1.00", "+0.25", "none finished"} == texts
    assert {ax.get_title() for ax in drawing.figure.axes} == {"1 pair", "2 pairs", "3 pairs", ""}
    assert "(2/3): two of three planned pairs have a gain." in drawing.caption


def test_the_family_matrix_of_a_study(study: Study) -> None:
    """With one pair for each combination the mean is the pair's own gain."""
    frames = study("2 x 2, two seeds")
    frame = family_matrix.prepare(frames).set_index(["teacher_family", "student_family", "method", "setting"])
    cells = frames.cells.set_index(["teacher_family", "student_family", "method", "setting"])
    assert list(frame["gain"]) == pytest.approx(list(cells.loc[frame.index, "gain_over_scratch"]))
    assert "exactly these pairs would move with other seeds" in compose_plot("family_matrix", frames)[0].caption


def test_nothing_without_a_gain(study: Study, with_cells: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = study("2 x 2, two seeds")
    empty = with_cells(frames, frames.cells.assign(gain_over_scratch=NAN))
    with pytest.raises(NothingToShow, match="no cell has a gain"):
        compose_plot("gain_bars", empty)
    given_table(monkeypatch, "families", families(("cnn", "cnn", "kd", 1, 0, NAN)))
    with pytest.raises(NothingToShow, match="no pair has a gain"):
        compose_plot("family_matrix", frames)

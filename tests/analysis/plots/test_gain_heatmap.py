"""The heat map: its numbers from known cells, its ink by its patches and texts, how it is laid out."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from analysis.colours import end
from analysis.frames import Frames
from analysis.plots import COLUMN, PAGE, TALLEST, Drawing, compose_plot, gain_heatmap

Study = Callable[[str], Frames]
NAN = float("nan")


def test_numbers_are_those_of_the_cells(study: Study) -> None:
    frames = study("3 x 3 with gaps")
    frame = gain_heatmap.prepare(frames)
    assert len(frame) == 9 * 2 * 2 and not frame.duplicated(["method", "setting", "row", "column"]).any()
    source = frames.cells.set_index(["method", "setting", "teacher", "student"])
    for row in frame.to_dict("records"):
        cell = source.loc[(row["method"], row["setting"], row["teacher"], row["student"])]
        if pd.isna(cell["gain_over_scratch"]):
            assert row["reason"]
            continue
        assert row["gain"] == cell["gain_over_scratch"] and not row["reason"]
        assert row["gain"] - row["half"] == pytest.approx(cell["gain_over_scratch_low"])
    reasons = frame.set_index(["method", "setting", "teacher", "student"])["reason"]
    assert reasons["pat", "tuned", "vit_mini", "mixer_nano"] == "waiting: search: 3 of 4 trials done"
    assert reasons["kd", "tuned", "vit_mini", "mixer_nano"] == "running"
    keys = ["method", "setting", "teacher", "student"]
    partial = frame.set_index(keys).loc[("pat", "tuned", "mixer_mini", "vit_nano")]
    assert (partial["n"], partial["planned"]) == (2, 3)


def test_significance_is_after_holm_and_shows_in_the_ink(study: Study, with_cells: Callable) -> None:
    """Four cells of one panel: p of 0.04, 0.06 and none; a failed one."""
    frames = study("2 x 2, two seeds")
    cells = frames.cells.query("method == 'pat' and setting == 'tuned'").reset_index(drop=True)
    cells["gain_over_scratch"] = [2.0, 1.5, -0.25, NAN]
    cells["gain_over_scratch_low"] = [1.5, 1, -1, NAN]
    cells["gain_over_scratch_high"] = [2.5, 2, 0.5, NAN]
    cells["gain_over_scratch_p_holm"] = [0.04, 0.06, NAN, NAN]
    cells["status"], cells["reason"] = ["finished"] * 3 + ["failed"], [""] * 3 + ["out of memory"]
    frame = gain_heatmap.prepare(with_cells(frames, cells))
    assert list(frame["significant"]) == [True, False, False, False]
    assert list(frame["gain"][:3]) == [2, 1.5, -0.25] and list(frame["half"][:3]) == [0.5, 0.5, 0.75]
    assert set(frame["limit"]) == {2} and not frame["clipped"].any()
    ax = Figure(figsize=(4, 3)).add_axes((0.2, 0.2, 0.7, 0.6))
    assert gain_heatmap.draw(frame, ax) is ax and ax.get_title() == "PAT, tuned"
    assert {text.get_text() for text in ax.texts if text.get_fontweight() == "bold"} == {"+2.00"}
    texts = {text.get_text() for text in ax.texts}
    assert {"+1.50", "−0.25", "±0.50", "±0.75", "failed: out of memory"} <= texts
    hatched = [patch for patch in ax.patches if patch.get_hatch()]
    assert len(hatched) == 2 and len(ax.patches) == 4 + 2
    first, second, third = (ax.patches[i].get_facecolor() for i in (0, 1, 3))
    assert first[2] > first[0] and second[2] > second[0] and third[0] > third[2]


def test_pairs_outside_the_study_are_blank(study: Study) -> None:
    frame = gain_heatmap.prepare(study("12 of 20, default only"))
    assert (frame["reason"] == "not in study").sum() == 8 * 3 and len(frame) == 20 * 3
    rows = frame.drop_duplicates("row").sort_values("row")
    assert list(rows["teacher"]) == ["convnext_tiny", "swin_tiny", "vit_small", "mixer_b16"]
    assert list(rows["teacher_family"]) == ["cnn", "vit", "vit", "mlp"]


@pytest.mark.parametrize(
    ("sizes", "limit"),
    [
        ([], 1),
        ([0.0, 0.0], 0.5),
        ([0.4, 0.8], 1),
        ([4, 5.2], 5.5),
        ([1] * 9 + [-45], 1),
        ([-0.2, -3.1], 3.5),
        ([2.0], 2),
    ],
)
def test_the_end_of_the_scale_is_the_largest_gain(sizes: list[float], limit: float) -> None:
    """In half points; a loss far off takes no colour from the gains."""
    assert end(pd.Series(sizes, dtype=float)) == limit


def test_a_loss_beyond_the_scale_has_a_notch(study: Study, with_cells: Callable) -> None:
    frames = study("2 x 2, two seeds")
    cells = frames.cells.query("method == 'pat' and setting == 'tuned'").reset_index(drop=True)
    cells["gain_over_scratch"] = [2.0, 1.5, -25.0, -1.0]
    frame = gain_heatmap.prepare(with_cells(frames, cells))
    assert set(frame["limit"]) == {2} and frame["clipped"].all()
    ax = gain_heatmap.draw(frame, Figure(figsize=(4, 3)).add_axes((0.2, 0.2, 0.7, 0.6)))
    assert len([patch for patch in ax.patches if isinstance(patch, Polygon)]) == 1


def test_one_drawing_a_method_and_an_overview(study: Study) -> None:
    overview, kd, pat = compose_plot("gain_heatmap", study("2 x 2, two seeds"))
    assert [drawing.name for drawing in (overview, kd, pat)] == ["gain_heatmap", "gain_heatmap_kd", "gain_heatmap_pat"]
    assert overview.figure.get_figwidth() == PAGE and kd.figure.get_figwidth() == COLUMN
    assert panels(overview) == ["KD, tuned", "PAT, tuned"] and panels(kd) == ["KD, tuned", "KD, default"]
    assert panels(compose_plot("gain_heatmap", study("12 of 20, default only"))[0])[0] == "KD, default"


def panels(drawing: Drawing) -> list[str]:
    return [axes.get_title() for axes in drawing.figure.axes if axes.get_title()]


def test_one_scale_for_all_methods(study: Study) -> None:
    drawings = compose_plot("gain_heatmap", study("2 x 2, two seeds"))
    ends = {ax.get_xlim() for drawing in drawings for ax in drawing.figure.axes if ax.get_xlabel().startswith("gain")}
    limit = gain_heatmap.prepare(study("2 x 2, two seeds"))["limit"].iloc[0]
    assert ends == {(-limit, limit)}


def test_a_large_study_takes_several_pages() -> None:
    models = [
        {"method": method, "setting": "tuned", "teacher": f"t{i}", "student": f"s{j}", "row": i, "column": j}
        for method in ("kd", "cc", "ofa", "pat", "dkd", "rkd", "crd")
        for i in range(15)
        for j in range(12)
    ]
    panels = [panel for _, panel in pd.DataFrame(models).groupby("method", sort=False)]
    pages = gain_heatmap._pages(panels)
    assert [len(page) for page in pages] == [2, 2, 2, 1]
    known = {"gain": 1.0, "half": 0.1, "n": 3, "planned": 3, "significant": True, "reason": "", "limit": 1.0}
    known |= {"clipped": False, "teacher_family": "cnn", "student_family": "vit"}
    assert (
        gain_heatmap._arrange([panel.assign(**known) for panel in pages[0]], PAGE, "points").get_figheight() <= TALLEST
    )


def test_captions_say_what_is_shown(study: Study) -> None:
    overview, *methods = compose_plot("gain_heatmap", study("3 x 3 with gaps"))
    assert "on digits at the last epoch, raw weights; 2 to 3 seeds a cell." in overview.caption
    assert "p < 0.05 after Holm's correction" in overview.caption and "hatched: does not" in overview.caption
    assert "Grey: has no number: × failed or diverged, … still to come." in overview.caption
    assert "with other seeds" in methods[0].caption and "95%" in methods[0].caption
    full, *_ = compose_plot("gain_heatmap", study("2 x 2, two seeds"))
    assert "Grey" not in full.caption and "White" not in full.caption
    _, single, _ = compose_plot("gain_heatmap", study("one pair, one seed"))
    assert "1 seed a cell" in single.caption and "No intervals: they need at least two seeds" in single.caption

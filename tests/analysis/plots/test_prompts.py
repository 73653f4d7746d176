"""What the prompts did: numbers of known epochs, the ink of a panel, what has nothing to say."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.frames import Frames
from analysis.plots import NothingToShow, compose_plot, prompts

Study = Callable[[str], Frames]


def told(frames: Frames, stages: int = 4) -> Frames:
    """The frames with stages that keep the less and explain the more, the later the epoch; seeds differ by 0.1."""
    seeds = frames.runs.set_index("run_id")["seed"]
    methods = frames.runs.set_index("run_id")["method"]

    def parts(row: pd.Series) -> str:
        if methods[row["run_id"]] != "pat":
            return str(row["parts"])
        above = 0.1 * (seeds[row["run_id"]] - 101)
        kept = {f"kept_{i}": 1 - 0.1 * i * row["epoch"] / 4 + above for i in range(1, stages + 1)}
        explained = {f"explained_{i}": -1 + row["epoch"] / 4 * (1 + 0.2 * i) for i in range(1, stages + 1)}
        return json.dumps({"ce": 1.0, **kept, **explained})

    return dataclasses.replace(frames, epochs=frames.epochs.assign(parts=frames.epochs.apply(parts, axis=1)))


def test_numbers_of_the_stages(study: Study) -> None:
    frames = told(study("2 x 2, two seeds"))
    frame = prompts.prepare(frames)
    assert set(frame["method"]) == {"pat"} and set(frame["setting"]) == {"tuned"} and set(frame["n"]) == {2}
    assert len(frame) == 4 * 4 * 4 and set(frame["stage"]) == {1, 2, 3, 4}
    last = frame.query("pair == 0 and stage == 3 and epoch == 4").iloc[0]
    assert last["kept"] == pytest.approx(0.7 + 0.05) and last["explained"] == pytest.approx(0.6)


def test_lines_stop_where_a_running_seed_is(study: Study) -> None:
    frames = told(study("2 x 2, two seeds"))
    first = frames.matrix.query("method == 'pat' and setting == 'tuned'")["run_id"].iloc[0]
    epochs = frames.epochs[(frames.epochs["run_id"] != first) | (frames.epochs["epoch"] <= 3)]
    frame = prompts.prepare(dataclasses.replace(frames, epochs=epochs))
    assert sorted(frame.groupby("pair")["epoch"].max()) == [3, 4, 4, 4]


def test_the_ink_of_a_panel(study: Study) -> None:
    frame = prompts.prepare(told(study("2 x 2, two seeds"), stages=3))
    ax = Figure().subplots()
    panel = frame[frame["pair"] == 1]
    assert prompts.draw(panel, ax) is ax
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"] * 3
    assert len({line.get_color() for line in ax.lines}) == 3
    assert list(ax.lines[2].get_ydata()) == list(panel.loc[panel["stage"] == 2, "kept"])
    assert list(ax.lines[5].get_ydata()) == list(panel.loc[panel["stage"] == 3, "explained"])


def test_its_words(study: Study, faults: Callable[[Figure], list[str]]) -> None:
    (drawing,) = compose_plot("prompts", told(study("3 x 3 with gaps")))
    assert drawing.name == "prompts" and not faults(drawing.figure)
    assert "tuned setting" in drawing.caption and "over 3 seeds" in drawing.caption
    (legend,) = drawing.figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == [*(f"stage {i}" for i in (1, 2, 3, 4)), "kept by the prompts", "explained by the student"]


def test_many_cells_take_several_pages(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "_DOWN", 1)
    drawings = compose_plot("prompts", told(study("2 x 2, two seeds")))
    assert [drawing.name for drawing in drawings] == ["prompts"]
    drawings = compose_plot("prompts", told(study("12 of 20, default only")))
    assert [drawing.name for drawing in drawings] == ["prompts", "prompts_2", "prompts_3"]
    assert all("default setting" in drawing.caption for drawing in drawings)


def test_without_prompts_there_is_nothing_to_show(study: Study) -> None:
    with pytest.raises(NothingToShow, match="no run of a method with prompts"):
        compose_plot("prompts", study("2 x 2, two seeds"))

"""What a person sees while something runs and at its end, on terminals of all widths and where there is none."""

from __future__ import annotations

import io
import re
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small import CNN_TEACHER, small_study

from analysis import read_runs
from analysis.metrics import METRICS
from pat.io import LocalIO
from pat.train import train
from sweeps.engine.progress import LATEST, Progress
from sweeps.engine.telling import TellingIO
from sweeps.looking.ending import DISPENSABLE, ending
from sweeps.looking.region import Region, fitted, is_terminal
from sweeps.planning.planner import Planner
from tests import tiny
from tests.screens import Terminal, picture


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "5")
    return Terminal()


def test_a_region_stays_below_what_is_said(terminal: Terminal) -> None:
    region = Region(terminal)
    region.show(["one", "two"])
    region.say("an event")
    region.show(["three"])
    assert terminal.screen == ["an event", "three"]
    region.say("another event")
    region.show([f"{i}" * 60 for i in range(9)])
    assert terminal.screen[:2] == ["an event", "another event"]
    assert terminal.screen[2:] == [f"{str(i) * 36}..." for i in range(4)]  # 39 of 40 columns, 4 of 5 lines
    region.close()
    assert terminal.screen == ["an event", "another event"]


@pytest.mark.parametrize("columns", range(6))
def test_a_line_is_never_wider(columns: int) -> None:
    assert len(fitted("abcdefgh", columns)) == columns


def test_a_dumb_terminal_is_none(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_terminal(terminal) and not is_terminal(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not is_terminal(terminal)


def begun(tmp_path: Path, stream: io.StringIO) -> Progress:
    """The progress of a study whose first teacher is in its third epoch."""
    progress = Progress(Planner(small_study(), {}), read_runs(tmp_path), stream)
    segment = progress.planner.take(1)
    assert segment is not None
    progress.since = {segment.run_id: time.time() - 100}
    rows = [{"val_score_raw": score, "val_score_ema": None} for score in (50.0, 71.5, float("nan"))]
    progress.epochs = lambda run_id: rows[:2]
    progress.spent = lambda: "0.25 device-hours"
    return progress


def test_a_study_on_a_terminal(terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sweeps.engine.progress.DRAWN_EVERY", 0.01)
    progress = begun(tmp_path, terminal)
    with progress.ticking():
        deadline = time.monotonic() + 20
        while len(terminal.screen) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        progress.say("an event")
        event, head, run = terminal.screen[:3]
    assert event == "an event" and head.startswith("0 of ") and " cells; 0 failed; 0.25 device-hours; " in head
    assert run.startswith("  epoch 3 of 6 ") and f"teacher {CNN_TEACHER}" in run.replace("scratch ", "")
    assert "best 71.50 %" in run and re.search(r"  10\d s|2 min$", run)
    assert terminal.screen == ["an event"]  # nothing is left of it at the end


def test_a_study_elsewhere_says_what_is_new_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    progress = begun(tmp_path, stream)
    for _ in range(3):
        progress._tick()
    assert stream.getvalue().count("\n") == 1 and "; epoch 3 of 6" in stream.getvalue()
    progress.epochs = lambda run_id: [{"val_score_raw": 1.0}] * 3
    progress._tick()
    assert stream.getvalue().count("\n") == 2 and "\033" not in stream.getvalue()
    progress._last_time -= LATEST  # a sign of life
    progress._tick()
    assert stream.getvalue().count("\n") == 3


def test_an_epoch_says_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[int, int, int]] = []

    class Watched(LocalIO):
        def stepped(self, epoch: int, images: int, of: int) -> None:
            told.append((epoch, images, of))

    train(tiny.config(epochs=2), Watched(tmp_path))
    (of,) = {of for _, _, of in told}
    assert of % 16 == 0 and told == [(epoch, images, of) for epoch in (0, 1) for images in range(16, of, 16)]


def test_a_bar_on_a_terminal_and_lines_elsewhere(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row: dict[str, Any] = {"epoch": 2, "train_loss": 0.5, "val_score_raw": 90.0, "seconds": 1.5}
    for stream in (terminal, io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        told = TellingIO(METRICS["top1"], 30, None, tmp_path)
        for images in (16, 32):
            time.sleep(0.11)  # the bar is drawn ten times a second at most
            told.stepped(1, images, 64)
        told.report([row], {"epoch": 2})
        said = stream.getvalue()
        assert ("epoch 2 of 30" in said and " images/s, " in said and " left" in said) == (stream is terminal)
        assert "epoch 2 of 30: loss 0.500, validation accuracy 90.00 %, 1.5 s" in capsys.readouterr().out


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 200])
def test_the_end_fits_the_terminal(columns: int) -> None:
    row = {"teacher": "swin_tiny_patch4_window7_224", "student": "mobilenetv3_small_100", "method": "rsd", "n": 3}
    row |= {"setting": "tuned", "seeds_planned": 3, "score_mean": 91.25, "verdict": "does not matter"}
    row |= {"gain_over_scratch": 2.5, "gain_over_scratch_low": 1.5, "gain_over_scratch_high": 3.5}
    open_row = {**row, "method": "kd", "n": 1, **{f"gain_over_scratch{end}": None for end in ("", "_low", "_high")}}
    text = ending(pd.DataFrame([row, open_row, {**row, "setting": "default"}]), METRICS["top1"], columns)
    head, one, other = text.split("\n")
    assert max(map(len, (head, one, other))) <= columns and text.isascii()
    if columns >= 60:
        assert "+2.50 +- 1.00" in one and "rsd" in one
    shown = [name for name in DISPENSABLE if name in head.replace("top-1", "score").split()]
    assert shown == list(DISPENSABLE)[len(DISPENSABLE) - len(shown) :]
    assert columns < 200 or (shown == list(DISPENSABLE) and "1/3" in other and one.endswith("does not matter"))


def test_a_screen_as_a_picture() -> None:
    """The same lines give the same SVG, which asks for nothing from elsewhere."""
    lines = ["$ pat-sweep", "3 of 9 runs; about 2 min left", "  epoch 2 of 4    confirm <a> & b"]
    svg = picture(lines, "a study", 60)
    assert svg == picture(lines, "a study", 60) and svg.startswith("<svg") and "font-face" not in svg
    text = re.sub(r"<[^>]+>", "", svg).replace("&#160;", " ")
    assert "3 of 9 runs; about 2 min left" in text and "confirm &lt;a&gt; &amp; b" in text and "a study" in text
    assert set(re.findall(r"https?://[^\s\"]+", svg)) == {"http://www.w3.org/2000/svg"}

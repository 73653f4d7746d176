"""What is worked out of shapes alone: once, and the same as without a memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sweeps.costs.known
from pat.config import RunConfig, Teacher
from pat.data.cache import cache_file
from sweeps.costs.flops import Count, Work, counts
from sweeps.costs.known import known
from sweeps.costs.shapes import Counter, _known
from tests import tiny

RUN = tiny.config(method="kd", teacher=Teacher(tiny.CNN, "run:none"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def counting(made: list[RunConfig]) -> Callable[[RunConfig, int], list[str]]:
    def work(run: RunConfig, classes: int) -> list[str]:
        made.append(run)
        return [run.student, str(classes)]

    return work


def lines(line: str) -> None:
    """Nothing is said."""


def test_what_is_known_is_not_worked_out_again() -> None:
    """Neither in one call nor in the next; seeds, lengths and weights change no shape."""
    made: list[RunConfig] = []
    alike = replace(RUN, seed=5, recipe=replace(RUN.recipe, lr=0.3), teacher=Teacher(tiny.CNN, "run:0123456789abcdef"))
    for _ in range(2):
        found = known("made", counting(made), {1: (RUN, 10), 2: (alike, 10), 3: (RUN, 11)}, "making", lines)
        assert found == {1: [RUN.student, "10"], 2: [RUN.student, "10"], 3: [RUN.student, "11"]}
    assert made == [RUN, RUN]
    known("made", counting(made), {1: (replace(RUN, student=tiny.CNN), 10)}, "making", lines)
    known("made", counting(made), {1: (replace(RUN, recipe=replace(RUN.recipe, ema_decay=0.0)), 10)}, "making", lines)
    known("others", counting(made), {1: (RUN, 10)}, "making", lines)
    assert len(made) == 5


def test_an_error_keeps_what_was_made_before() -> None:
    made: list[RunConfig] = []

    def work(run: RunConfig, classes: int) -> Any:
        return counting(made)(run, classes) if classes == 10 else 1 / 0

    with pytest.raises(ZeroDivisionError):
        known("made", work, {1: (RUN, 10), 2: (RUN, 0)}, "making", lines)
    known("made", work, {1: (RUN, 10)}, "making", lines)
    assert len(made) == 1


def test_code_of_others_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[RunConfig] = []
    monkeypatch.setattr(sweeps.costs.known, "method_class", lambda name: type("Own", (), {"__module__": "mine.own"}))
    for _ in range(2):
        known("made", counting(made), {1: (RUN, 10)}, "making", lines)
    assert len(made) == 2 and not cache_file("made").parent.exists()


def test_long_work_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps.costs.known, "SAY_EVERY", -1.0)
    said: list[str] = []
    known("made", counting([]), {1: (RUN, 10), 2: (RUN, 11)}, "making", said.append)
    assert said == ["making: 0 of 2", "making: 1 of 2"]


@pytest.mark.parametrize("content", ["{cut", "[1]", json.dumps({"by": "another torch", "known": {}})])
def test_a_damaged_file_is_made_again(content: str, tmp_path: Path) -> None:
    first = counts({1: (RUN, 10)}, lines)
    (file,) = (tmp_path / "pat").iterdir()
    assert counts({1: (RUN, 10)}, lines) == first and isinstance(first[1], Count) and isinstance(first[1].step, Work)
    file.write_text(content)
    assert counts({1: (RUN, 10)}, lines) == first


def test_a_result_that_is_known_is_as_good_as_a_new_one() -> None:
    """Shapes, strides, kinds of numbers and FLOP; what changes a tensor's own shape, or shares its memory, is done."""

    def several() -> tuple[list[Any], int, int]:
        x = torch.empty(4, 6, device="meta", requires_grad=True)
        w = torch.empty(6, 3, device="meta")
        with Counter() as counter:
            y = (x @ w).mul(2).relu_() + 1
            y.pow(2).sum().backward()
            tensors = [y, x.grad, y.detach().t(), w.clone().t_(), w * 1, w * 1.0, w.long() * 1, w > 1, *w.max(0)]
        return [(t.shape, t.stride(), t.dtype) for t in tensors if t is not None], counter.flop, counter.operations

    _known.clear()
    first = several()
    assert _known and several() == first
    assert first[1] == 2 * 4 * 6 * 3 * 2
    assert first[0][3] == (torch.Size([3, 6]), (1, 3), torch.float32)

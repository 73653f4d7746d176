"""A ratio that got worse fails, whatever else was recorded; nobody has to measure anything to see that."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeps import published
from tests.bench.__main__ import BASELINE, LONG, PARTS, main
from tests.bench.compare import BETTER, CHANGED, EXACT, GONE, HOLDS, NEW, WORSE, Tolerance, compare, record, table
from tests.bench.scheduling import FACTORS

COST = Tolerance(0.2)


@pytest.mark.parametrize(
    ("now", "recorded", "verdict"),
    [
        (1.19, 1.0, HOLDS),
        (1.21, 1.0, WORSE),
        (1.3 * 7.2, 7.2, WORSE),
        (1 / 1.19, 1.0, HOLDS),
        (1 / 1.21, 1.0, BETTER),
        (0.0, 0.0, HOLDS),
        (1e-9, 0.0, WORSE),
        (math.nan, 1.0, WORSE),
        (math.inf, 1.0, WORSE),
    ],
)
def test_a_cost_fails_where_it_rose(now: float, recorded: float, verdict: str) -> None:
    (line,) = compare({"part/name": now}, {"part/name": recorded}, COST)
    assert (line.verdict, line.fails) == (verdict, verdict == WORSE)


@pytest.mark.parametrize(
    ("now", "recorded", "verdict"),
    [
        (1 / 3, 0.333333, HOLDS),
        (0.33335, 0.333333, CHANGED),
        (0.33332, 0.333333, CHANGED),
        (0.0, 0.0, HOLDS),
        (0.01, 0.0, CHANGED),
        (-0.01, 0.01, CHANGED),
        (math.nan, 1.0, CHANGED),
    ],
)
def test_what_is_exact_fails_either_way(now: float, recorded: float, verdict: str) -> None:
    (line,) = compare({"part/name": now}, {"part/name": recorded}, EXACT)
    assert (line.verdict, line.fails) == (verdict, verdict == CHANGED)


def test_each_name_must_be_on_both_sides() -> None:
    lines = compare({"part/new": 1.0, "part/same": 1.0}, {"part/same": 1.0, "part/gone": 2.0}, COST)
    assert [(line.name, line.verdict, line.fails) for line in lines] == [
        ("part/new", NEW, True),
        ("part/same", HOLDS, False),
        ("part/gone", GONE, True),
    ]


def test_table_has_a_row_a_ratio() -> None:
    lines = compare({"part/step": 1.3, "part/new": 2.0}, {"part/step": 1.0, "part/gone": 0.014}, COST)
    assert [row.split() for row in table(lines).splitlines()] == [
        ["now", "recorded", "change", "verdict"],
        ["part/step", "1.3", "1", "+30.00%", "WORSE"],
        ["part/new", "2", "NEW"],
        ["part/gone", "0.014", "GONE"],
    ]


def test_recording_a_part_leaves_the_others(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    record({"flops/a": 1 / 3, "step/a": 1.1, "steps/a": 5.0}, ["flops", "step", "steps"], file)
    record({"step/b": 2.0}, ["step"], file)
    recorded = json.loads(file.read_text())
    assert recorded == {"flops/a": 0.333333, "steps/a": 5.0, "step/b": 2.0}
    assert not any(line.fails for line in compare({"flops/a": 1 / 3}, {"flops/a": recorded["flops/a"]}, EXACT))


def test_exit_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole command, with parts that measure nothing."""
    file, found = tmp_path / "baseline.json", {"a": 1.0}
    for part in ("flops", "step"):
        monkeypatch.setitem(sys.modules, f"tests.bench.{part}", SimpleNamespace(report=lambda: found, TOLERANCE=COST))
    assert main(["flops"], file) == 1
    assert "python -m tests.bench --record flops\n" in capsys.readouterr().out
    assert main(["--record", "flops", "step"], file) == 0
    assert main(["step", "flops"], file) == 0
    found["a"] = 1.3
    assert main(["step", "flops"], file) == 1
    assert "python -m tests.bench --record step flops\n" in capsys.readouterr().out
    assert main(["--record", "step"], file) == 0
    assert main(["step"], file) == 0
    assert main(["flops"], file) == 1


def test_unknown_part_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flops", "flop"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err == f"there is no part 'flop'; the parts are {', '.join(PARTS)}\n"


def test_what_is_recorded_is_of_parts_that_are_there() -> None:
    recorded = json.loads(BASELINE.read_text())
    parts = {name.partition("/")[0] for name in recorded}
    assert {*PARTS} >= parts >= {*PARTS} - {*LONG}
    assert all(math.isfinite(value) for value in recorded.values())


def test_every_column_of_the_presets_has_a_cost() -> None:
    assert {*published.COLUMNS} <= FACTORS.keys(), "tests/bench/scheduling.py: say what its step costs over scratch's"

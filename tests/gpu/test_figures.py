"""The check of a GPU on the CPU with the smallest sizes: its figures, its table, and what it says without a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import tests.gpu.figures
from tests.gpu.__main__ import main, write
from tests.gpu.figures import Pair, Row, floor, measure, product_flop, table

CPU = torch.device("cpu")
SMALL = Pair("convnext_micro_32", "mixer_nano_patch8_32", 32, 8, "fp32", 2)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tests.gpu.figures, "ROUNDS", 1)
    monkeypatch.setattr(tests.gpu.figures, "GROUPS", (1, 2))
    monkeypatch.setattr(tests.gpu.figures, "METHODS", ("scratch", "kd"))


def test_every_way_is_measured_beside_its_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    said: list[str] = []
    rows, left_out = measure([SMALL], CPU, 1000.0, said.append)
    ways = [(row.method, row.way) for row in rows]
    assert not left_out and len(compiled) == 2
    assert ways == [
        (method, way) for way in ("eager", "captured", "group of 2", "compiled") for method in ("scratch", "kd")
    ]
    for row in rows:
        assert row.images_a_second > 0 and 0 < row.of_floor < 20 and 0 < row.flop_share and row.peak_gigabytes == 0
    assert len(said) == len(rows) == len(table(rows).splitlines()) - 1
    assert len({len(line) for line in table(rows).splitlines()}) == 1


def test_what_there_is_no_time_for_is_named() -> None:
    rows, left_out = measure([SMALL], CPU, -1.0, print)
    assert not rows and len(left_out) == 8 and left_out[0] == "convnext -> mixer 32 px scratch eager"


def test_what_a_device_cannot_do_is_said_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(pair: Pair, method: str, *rest: object) -> tuple[float, int]:
        if method == "kd":
            raise torch.OutOfMemoryError("no room\nat all")
        return 10.0, 2 * 10**9

    monkeypatch.setattr(tests.gpu.figures, "images_a_second", failing)
    said: list[str] = []
    rows, _ = measure([SMALL], CPU, 1000.0, said.append)
    assert {row.method for row in rows} == {"scratch"} and rows[0].peak_gigabytes == 2.0
    assert said[1] == "convnext -> mixer 32 px kd eager: no room"


def test_a_floor_has_a_teacher_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    built, create = list[str](), tests.gpu.figures.create_model
    monkeypatch.setattr(
        tests.gpu.figures, "create_model", lambda name, *rest: [built.append(name), create(name, *rest)][1]
    )
    monkeypatch.setattr(tests.gpu.figures, "best", lambda call, device: (call(), 2.0)[1])
    assert floor(SMALL, False, CPU) == SMALL.batch / 2 and built == [SMALL.student]
    assert floor(SMALL, True, CPU) == SMALL.batch / 2 and built[1:] == [SMALL.student, SMALL.teacher]
    assert product_flop(CPU, "fp32", 16) == 2 * 16**3 / 2


def test_without_a_gpu_it_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and err.startswith("no GPU")


def test_the_file_holds_the_rows(tmp_path: Path) -> None:
    row = Row("a -> b 32 px", "kd", "eager", 10.0, 0.9, 0.1, 2.0)
    write(tmp_path / "f.json", "Some GPU", [row], correct=True)
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["device"] == "Some GPU" and found["correct"] and Row(**found["rows"][0]) == row

"""Ledgers that cannot become one: other studies, other teachers, a driver at work."""

from __future__ import annotations

import datetime
import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import LedgerError, ledger, storage
from analysis.__main__ import main
from analysis.identity import difference, unite
from analysis.merge import merge
from tests.analysis.halves import STUDY

Make = Callable[..., Any]


def test_two_teachers_of_one_name_are_refused(tmp_path: Path, ledgers: Make) -> None:
    taught = {"teacher_weights": "run:9", "teacher_sha256": "aa"}
    teacher = {"teacher": "", "student": "t", "phase": "teacher", "student_sha256": "bb"}
    a, b = ledgers("a", {"1": taught}), ledgers("b", {"9": teacher, "2": {**taught, "teacher_sha256": "bb"}})
    with pytest.raises(LedgerError, match=r"teacher t \(run:9\) has the weights bb, but in .*a they are aa"):
        merge([a, b], tmp_path / "d")
    assert not (tmp_path / "d").exists()
    storage.write_file(a, "teachers/tags.json", b'{"r.a1 32px": "cc"}')
    storage.write_file(b, "teachers/tags.json", b'{"r.a1 32px": "dd"}')
    ledger.write_run(a, dict(ledger.read_run(a, "1") or {}) | {"teacher_sha256": "bb"})
    with pytest.raises(LedgerError, match=r"teacher r\.a1 32px has the weights dd, but in .*a they are cc"):
        merge([a, b], a)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "z"}, "name is 'z', not 's'"),
        ({"data": {"name": "digits", "image_size": 64}}, "data.image_size is 64, not 32"),
        ({"numerics": 4}, "numerics is 4"),
        ({"search": {"trials": 4, "wave": 2}}, "search.wave is 2, not 4"),
        ({"students": {"x": {"epochs": 5, "lr": 0.1}}}, "students.x.epochs is 5, not 4"),
        ({"threads": 2}, "threads is 2, not None"),
    ],
)
def test_another_study_is_refused_by_its_field(
    tmp_path: Path, ledgers: Make, change: dict[str, Any], field: str
) -> None:
    a, b = ledgers("a", {}), ledgers("b", {"1": {}}, **change)
    with pytest.raises(LedgerError, match="not the study of") as caught:
        merge([a, b], a)
    assert field in str(caught.value) and not ledger.list_runs(a)


def test_what_may_grow_or_lie_elsewhere_is_no_difference() -> None:
    file = {"path": "/a/t.pt", "sha256": "aa"}
    first = {**STUDY, "teachers": {"t": file, "u": {"epochs": 1}}}
    second = {
        **STUDY,
        "teachers": {"t": {**file, "path": "/b"}, "v": {"epochs": 2}},
        "search": {"trials": 8, "wave": 4, "failures": 3},
    }
    assert difference(first, second) is None
    united = unite(first, second)
    assert united["search"]["trials"] == 8 and list(united["teachers"]) == ["t", "u", "v"]
    assert unite(second, first)["pairs"] == [["t", "x"]]
    tag = {**STUDY, "teachers": {"t": {**file, "path": "timm:r.a1"}}}
    assert difference(first, tag) == ("teachers.t.path", "", "timm:r.a1")


def test_where_a_driver_is_at_work_nothing_is_touched(
    tmp_path: Path, ledgers: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = ledgers("a", {}), ledgers("b", {"1": {}})
    driver = {"host": "node7", "pid": 42, "started": "", "ended": ""}
    storage.write_file(b, "driver.json", json.dumps({**driver, "beat": _ago(5)}).encode())
    assert main(["merge", str(a), str(b), "--into", str(a)]) == 2
    assert "pid 42 on node7 works on this study" in capsys.readouterr().err
    for finished in ({"ended": "done", "beat": _ago(1)}, {"beat": _ago(90)}):
        storage.write_file(b, "driver.json", json.dumps({**driver, **finished}).encode())
        merge([a, b], a)
    with open(a / "_driver.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LedgerError, match="another process works on this study"):
            merge([a, b], a)


def _ago(seconds: float) -> str:
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)).isoformat()


def test_a_folder_that_is_no_study(tmp_path: Path, ledgers: Make) -> None:
    a = ledgers("a", {})
    with pytest.raises(LedgerError, match=r"no study\.json here"):
        merge([a, tmp_path / "none"], tmp_path / "d")
    storage.write_file(tmp_path / "bad", "study.json", b"[]")
    with pytest.raises(LedgerError, match="cannot be read as a study"):
        merge([a, tmp_path / "bad"], tmp_path / "d")

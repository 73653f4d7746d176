"""Whatever is wrong with a machine is named, and a sound cluster has no line in the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps.cluster.facts import facts
from sweeps.cluster.verdict import Answer, judge, table
from sweeps.version import ROOT, digest

SOUND: dict[str, Any] = {
    "host": "node",
    "versions": {"python": "3.11", "torch": "2.14.1", "torchvision": "0.29.1", "ray": "2.60.0"},
    "devices": {"gpus": 1, "names": ["A10G"], "nccl": "2.30", "driver": "580.1", "problem": ""},
    "storage": "",
    "free": {"storage": 10**12, "temporary files": 10**12},
    "code": "abc",
    "loopback": False,
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**SOUND, **changes}


def problems(*answers: Answer, several: bool = False) -> list[tuple[str, ...]]:
    return [tuple(problem) for problem in judge(SOUND, "data", answers, several)]


def test_a_sound_cluster() -> None:
    assert problems(Answer("a", SOUND, data="data"), Answer("b", SOUND, data="data", clock=9.0), several=True) == []


@pytest.mark.parametrize(
    ("answer", "what", "found"),
    [
        (Answer("a", silence="gone"), "no answer", "gone"),
        (Answer("a", changed(versions={**SOUND["versions"], "torch": "2.9.0"}), data="data"), "torch", "2.9.0"),
        (Answer("a", changed(versions={"python": "3.11"}), data="data"), "torch", "not installed"),
        (Answer("a", changed(code="def"), data="data"), "code of the project", "def"),
        (Answer("a", changed(storage="is not the one that the head sees"), data="data"), "storage", "is not the one"),
        (Answer("a", changed(free={"storage": 10**9}), data="data"), "disk of storage", "1.0 GB free"),
        (Answer("a", SOUND, data="other"), "data set", "listing other"),
        (Answer("a", SOUND, data_problem="not found"), "data set", "not found"),
        (Answer("a", SOUND, data="data", clock=-301.4), "clock", "301 s behind"),
        (Answer("a", SOUND, data="data", clock=12.0), "clock", "12 s ahead"),
        (Answer("a", changed(loopback=True), data="data"), "network", "resolves to itself"),
        (Answer("a", changed(devices={**SOUND["devices"], "problem": "no driver"}), data="data"), "GPU", "no driver"),
        (Answer("a", changed(devices={**SOUND["devices"], "nccl": ""}), data="data"), "NCCL", "none"),
    ],
)
def test_each_problem_is_named(answer: Answer, what: str, found: str) -> None:
    rows = problems(Answer("sound", SOUND, data="data"), answer, several=True)
    assert {row[1] for row in rows} <= {what, "torchvision", "ray"} and any(row[1] == what for row in rows)
    row = next(row for row in rows if row[1] == what)
    assert found in row[2] and row[0] in ("a", "node (a)")


def test_the_older_driver_is_wrong() -> None:
    old = changed(devices={**SOUND["devices"], "driver": "560.2"})
    rows = problems(Answer("a", old, data="data"), Answer("b", SOUND, data="data"))
    assert rows == [("node (a)", "driver", "560.2", "580.1")]


def test_the_table_has_columns() -> None:
    lines = table(judge(SOUND, "data", [Answer("a", silence="gone"), Answer("a long address", silence="gone")])).split(
        "\n"
    )
    assert len(lines) == 3 and len({line.index("gone") for line in lines[1:]}) == 1 and "needed" in lines[0]


def test_the_facts_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "token").touch()
    found = facts(str(tmp_path), "token", {"here": str(tmp_path), "absent": str(tmp_path / "no" / "such")}, str(ROOT))
    assert found["storage"] == "" and found["code"] == digest()
    assert found["free"]["here"] == found["free"]["absent"] > 0
    assert not any("import" in version for version in found["versions"].values())
    assert judge(found, "", [Answer("self", found)]) == [] or min(found["free"].values()) < 2 << 30


def test_a_storage_that_is_not_shared(tmp_path: Path) -> None:
    assert facts(str(tmp_path), "token", {}, str(ROOT))["storage"] == "is not the one that the head sees"
    assert facts(str(tmp_path / "no"), "token", {}, str(ROOT))["storage"] == "is not the one that the head sees"

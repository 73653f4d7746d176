"""Golden runs: a change of the training step, the views, a method or an optimiser is noticed."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pat.config import NUMERICS
from tests.golden.__main__ import CHANGELOG
from tests.golden.compare import ADVICE, differences
from tests.golden.runs import FILE, Trace, configurations, has_bf16, machine, trace, write_teachers

CONFIGURATIONS = dict(configurations())
RECORD: dict[str, Any] = json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_teachers(tmp_path_factory.mktemp("teachers"))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_run_gives_what_was_recorded(name: str, tmp_path: Path, teachers: dict[str, Path]) -> None:
    config = CONFIGURATIONS[name]
    if config.recipe.precision == "bf16" and not has_bf16():
        pytest.skip("this CPU has no bf16")
    assert RECORD["numerics"] == NUMERICS, f"NUMERICS is {NUMERICS}; record anew: python -m tests.golden"
    assert name in RECORD["runs"], "a new run is not recorded yet: python -m tests.golden"
    recorded = RECORD["runs"][name]
    assert config.run_id == recorded["run_id"], f"{name} has another identity: {ADVICE}"
    moved = differences(name, trace(config, tmp_path, teachers), recorded, machine())
    assert not moved, "\n".join([*moved, ADVICE])


def test_no_recorded_run_is_forgotten() -> None:
    assert CONFIGURATIONS.keys() == RECORD["runs"].keys()


def test_every_numerics_version_is_in_the_changelog() -> None:
    said = re.findall(r"[Nn]umerics version (\d+)", CHANGELOG.read_text())
    assert set(map(int, said)) == set(range(1, NUMERICS + 1)), "NUMERICS and the lines of CHANGELOG.md differ"


def as_trace(recorded: dict[str, Any]) -> Trace:
    return Trace(list(recorded["losses"]), copy.deepcopy(recorded["history"]), "")


def test_a_comparison_sees_what_moved() -> None:
    name = "kd vit fp32"
    recorded = {**RECORD["runs"][name], "digests": {}}
    same = as_trace(recorded)
    assert differences(name, same, recorded, "another CPU") == []
    same.losses[3] *= 1 + 1e-5
    assert differences(name, same, recorded, "another CPU") == []
    same.losses[3] *= 1.001
    (line,) = differences(name, same, recorded, "another CPU")
    assert line.startswith("kd vit fp32: the loss of step 4 was")
    other = as_trace(recorded)
    other.history[1]["parts"]["kd"] *= 1.01
    other.history[1]["lr"] = 0.0
    found = differences(name, other, recorded, "another CPU")
    assert [line.split(" was ")[0] for line in found] == [f"{name}: lr of epoch 2", f"{name}: part kd of epoch 2"]
    here = {**recorded, "digests": {"this CPU": "0" * 16}}
    assert "student's weights moved (to the bit" in differences(name, as_trace(recorded), here, "this CPU")[0]
    assert differences(name, as_trace(recorded), {**here, "digests": {"this": as_trace(recorded).digest}}, "this") == []
    short = Trace(recorded["losses"][:-1], recorded["history"], "")
    assert differences(name, short, recorded, "another CPU") == [f"{name}: 12 steps were recorded, 11 are made"]

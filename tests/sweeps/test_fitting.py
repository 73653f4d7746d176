"""Options that do not suit the models of a study: one line, before anything is written or run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, VIT_TEACHER, small_study

from pat.config import ConfigError
from pat.methods import method_options
from sweeps.commands.grid import main
from sweeps.costs.devices import Devices
from sweeps.fitting import check_settings, settings_to_try
from sweeps.store import open_study
from sweeps.study import Cell

PAT_CELLS = [Cell(CNN_TEACHER, MLP_STUDENT, "pat"), Cell(VIT_TEACHER, CNN_STUDENT, "pat")]
BAD: dict[str, Any] = {"pat": {"prompt_depth": (0, 3)}}
WORDS = r"prompt_depth = \(0, 3\): different stages from 1 to 4"


def test_what_a_study_says_is_tried() -> None:
    """The methods' own settings are not: they suit every model that has stages."""
    assert settings_to_try(small_study(options={}, methods=("kd", "pat", "uskd"))) == []
    assert [cell for cell, _ in settings_to_try(small_study())] == PAT_CELLS
    spelled = small_study(options={"pat": {"regions": method_options("pat")["regions"]}})
    assert settings_to_try(spelled) == []
    found = settings_to_try(
        small_study(choices={"kd": {"weight": (1.0, 2.0)}}, corrections={f":{MLP_STUDENT}": {"kd": {"weight": 3.0}}})
    )
    tried = [(cell.student, run.method.options["weight"]) for cell, run in found if cell.method == "kd"]
    assert tried == [(MLP_STUDENT, 3.0), (MLP_STUDENT, 1.0), (MLP_STUDENT, 2.0), (CNN_STUDENT, 1.0), (CNN_STUDENT, 2.0)]


def test_every_model_is_tried_with_every_setting() -> None:
    """Which is fewer than every pair."""
    study = small_study(
        pairs=tuple((t, s) for t in (CNN_TEACHER, VIT_TEACHER) for s in (CNN_STUDENT, MLP_STUDENT)),
        choices={"pat": {"regions": (8, 16)}},
    )
    found = settings_to_try(study)
    assert len(found) == 6, "three pairs of four, each with the default, which is one of the choices, and the other"
    for regions in (8, 16):
        cells = [cell for cell, run in found if run.method.options["regions"] == regions]
        assert {cell.teacher for cell in cells} == {CNN_TEACHER, VIT_TEACHER}
        assert {cell.student for cell in cells} == {CNN_STUDENT, MLP_STUDENT}


@pytest.mark.parametrize(
    ("changes", "cell"),
    [
        ({"options": BAD}, PAT_CELLS[0]),
        ({"choices": {"pat": {"prompt_depth": (2, (0, 3))}}}, PAT_CELLS[0]),
        ({"corrections": {f"{VIT_TEACHER}:{CNN_STUDENT}": BAD}}, PAT_CELLS[1]),
    ],
)
def test_what_does_not_suit_is_one_line(changes: dict[str, Any], cell: Cell) -> None:
    with pytest.raises(ConfigError, match=f"^{cell}: {WORDS}$"):
        check_settings(settings_to_try(small_study(**changes)), 10, print)


def test_what_suits_passes() -> None:
    check_settings(settings_to_try(small_study(options={"pat": {"prompt_depth": (1, 4), "regions": 16}})), 10, print)


@pytest.mark.parametrize("flags", [[], ["--plan"]])
def test_it_is_said_before_anything_is_written(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sweeps.commands.flags.preset", lambda name: small_study(options=BAD))
    assert main(["--preset", "digits", "--storage", str(tmp_path), *flags]) == 2
    out, err = capsys.readouterr()
    assert "trying 2 settings on their models\n" in (err if flags else out)
    assert err.endswith(f"error: {PAT_CELLS[0]}: prompt_depth = (0, 3): different stages from 1 to 4\n")
    assert err.count("\n") == 1 + len(flags) and not list(tmp_path.iterdir())


def test_what_a_folder_holds_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_study(tmp_path, small_study())
    monkeypatch.setattr("sweeps.commands.flags.preset", lambda name: small_study(seeds=1))
    monkeypatch.setattr("sweeps.commands.plan.plan_text", lambda *given, **more: "planned")
    monkeypatch.setattr("sweeps.commands.plan.local_devices", lambda *given: Devices("two cores", False, 2, 1.0))
    assert main(["--preset", "digits", "--storage", str(tmp_path), "--plan"]) == 0
    assert "trying" not in capsys.readouterr().err
    monkeypatch.setattr("sweeps.commands.flags.preset", lambda name: small_study(seeds=5))
    assert main(["--preset", "digits", "--storage", str(tmp_path), "--plan"]) == 0
    assert "trying 2 settings" in capsys.readouterr().err

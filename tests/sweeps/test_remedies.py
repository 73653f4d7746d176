"""The study of PAT's remedies: equal budgets in every form, and one report of all."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from analysis import ledger, read_matrix
from analysis.frames import load
from analysis.plots import compose_plot
from pat.methods import method_options
from sweeps.commands import grid
from sweeps.configs import default_options
from sweeps.planning.planner import Planner
from sweeps.presets import PRESETS, remedies
from tests.analysis.conftest import Study as Written


@pytest.mark.parametrize("data", remedies.DATA)
def test_every_form_has_the_same_budget(data: str) -> None:
    others, *studies = (remedies.study(data, form) for form in (remedies.OTHERS, *remedies.forms(data)))
    assert {s.search for s in studies} == {others.search} and {s.pairs for s in studies} == {others.pairs}
    assert {s.seeds for s in (others, *studies)} == {3} and len(others.pairs) == 3
    assert all(s.students == others.students and s.teachers == others.teachers for s in studies)
    planned = [len({run for unit in Planner(s, {}).units.values() for run in unit.runs}) for s in studies]
    assert len(set(planned)) == 1
    assert len({s.name for s in studies}) == len(studies)


def test_each_remedy_differs_from_the_paper_in_itself_alone() -> None:
    def setting(form: str) -> dict[str, object]:
        asked = remedies.study("digits", form)
        return default_options(asked, asked.cells()[0])

    paper = setting("paper")
    assert {key: paper[key] for key in ("feature_norm", "feature_size", "aligner")} == {
        "feature_norm": "none", "feature_size": "teacher", "aligner": "nearest",
    }  # fmt: skip
    differing = {
        form: {key for key, value in setting(form).items() if value != paper[key]} for form in remedies.forms("digits")
    }
    balanced = method_options("pat", {"variant": "balanced"})
    own = {key for key in balanced if balanced[key] != method_options("pat")[key]}
    assert differing.pop("paper") == set() and differing.pop("balanced") == own
    assert differing.pop("relational") == {*own, "logit_loss"}
    assert differing.pop("hinted") == {*own, "logit_loss", "hint_weight"}
    assert differing.pop("together") == {*own, "feature_size", "drift_weight", "feature_warmup"}
    assert all(len(keys) == 1 for keys in differing.values()) and len(differing) == 7


def test_a_form_s_trials_go_to_its_weights() -> None:
    asked = remedies.study("digits", "balanced")
    searched = {key for key in method_options("pat") if key not in asked.options["pat"]}
    assert {"kd_weight", "feature_weight"} <= searched and not {"regions", "prompt_depth", "temperature"} & searched


def write(place: Path, form: str, gain: float) -> None:
    """A finished form: with a teacher all runs of PAT, which have ids of their own, are `gain` above scratch."""
    asked = remedies.study("digits", form)
    kinds = {"convnext": "cnn", "resnet": "cnn", "vit": "vit", "mixer": "mlp"}
    folder = Written(
        pairs=asked.pairs,
        families={name: kinds[name.split("_")[0]] for pair in asked.pairs for name in pair},
        accuracy=lambda teacher, student, method, setting, seed: 80 + seed % 3 + (gain if teacher else 0),
        methods=asked.methods,
    ).write(place / asked.name)
    rows = ledger.read_matrix_rows(folder)
    for row in rows:
        if row["method"] == "pat":
            old, row["run_id"] = row["run_id"], hashlib.sha256(f"{form} {row['run_id']}".encode()).hexdigest()[:16]
            epochs = [{**epoch, "run_id": row["run_id"]} for epoch in ledger.read_run_epochs(folder, old)]
            ledger.write_epochs(folder, row["run_id"], epochs)
            ledger.write_run(folder, {**(ledger.read_run(folder, old) or {}), "run_id": row["run_id"]})
            shutil.rmtree(folder / "runs" / old)
    ledger.write_matrix(folder, rows)


def test_one_report_of_all_forms(tmp_path: Path) -> None:
    """Forms that have not begun are left out; every gain is over the same scratch runs."""
    for form, gain in ((remedies.OTHERS, 1.0), ("paper", -2.0), ("balanced", 3.0)):
        write(tmp_path, form, gain)
    folder = remedies.combine(tmp_path, "digits")
    matrix = read_matrix(folder)
    assert set(matrix["method"]) == {"scratch", *remedies.BASELINES, "pat-paper", "pat-balanced"}
    assert (matrix["setting"] == "scratch").sum() == 3 * 3, "once, not once a form"
    cells = load(folder).cells.query("setting == 'tuned'").set_index("method")
    for method, gain in (("kd", 1.0), ("pat-paper", -2.0), ("pat-balanced", 3.0)):
        assert cells.loc[method, "gain_over_scratch"].tolist() == pytest.approx([gain] * 3)
    assert compose_plot("gain_heatmap", load(folder))
    definition = json.loads((folder / "study.json").read_text())
    assert definition["methods"][: len(remedies.BASELINES) + 1] == [*remedies.BASELINES, "pat-paper"]
    assert definition["options"]["pat-balanced"]["variant"] == "balanced"
    assert remedies.combine(tmp_path, "digits") == folder, "once more is the same"


def test_forms_are_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    for form in (remedies.OTHERS, *remedies.forms("digits")):  # what `main` adds goes again
        monkeypatch.setitem(PRESETS, f"remedies-digits-{form}", lambda: None)
    monkeypatch.setattr(grid, "main", lambda argv: asked.append([*argv]) or 0)
    assert remedies.main(["digits", "--storage", str(tmp_path), "--plan"]) == 0
    assert [argv[1] for argv in asked] == [
        f"remedies-digits-{form}" for form in (remedies.OTHERS, *remedies.forms("digits"))
    ]
    assert {tuple(argv[2:]) for argv in asked} == {("--storage", str(tmp_path), "--plan")}
    asked.clear()
    monkeypatch.setattr(grid, "main", lambda argv: asked.append([*argv]) or 2)
    assert remedies.main(["digits", "--storage", str(tmp_path)]) == 2 and len(asked) == 1

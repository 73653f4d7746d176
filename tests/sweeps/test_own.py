"""A study in one's own file, other models, data and fields by flags, modules that live elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small import CNN_TEACHER, MLP_STUDENT, VIT_TEACHER, small_study
from test_driver import drive

import sweeps
from analysis import read_runs
from analysis.identity import united_seeds
from pat import plugins
from pat.config import ConfigError, Recipe
from pat.plugins import VARIABLE, announce, announced, import_own, import_siblings, own_files
from sweeps.api import Result, run, space
from sweeps.commands import grid
from sweeps.own import load_study, with_data, with_pairs, with_settings
from sweeps.spaces import Log
from sweeps.store import grow
from tests.pat.folders import make

FILE = """
from dataclasses import replace
import {helper}
from sweeps import Study, Search
from sweeps.presets.classification import digits
study = replace(digits(), name={helper}.NAME, pairs=digits().pairs[:1], search=Search(trials=0))
def smaller():
    return replace(study, seeds=(2, 7))
number = 3
"""


pytestmark = pytest.mark.usefixtures("forgotten")


def own_file(folder: Path, name: str = "own_study") -> Path:
    (folder / "own_helper.py").write_text("NAME = 'mine'\n")
    (folder / f"{name}.py").write_text(FILE.format(helper="own_helper"))
    return folder / f"{name}.py"


def test_a_study_in_ones_own_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = own_file(tmp_path)
    assert load_study(f"{file}:study").name == "mine" and load_study(f"{file}:smaller").confirming == (2, 7)
    assert announced() == [(str(tmp_path), "own_study")]
    assert {name for _, name in own_files()} == {"own_study.py", "own_helper.py"}
    assert grid.main(["--study", f"{file}:study", "--set", "recipe.epochs=3", "--seeds", "1,5,7", "--show"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["name"] == "mine-epochs3" and shown["seeds"] == [1, 5, 7]
    assert {recipe["epochs"] for recipe in [*shown["teachers"].values(), *shown["students"].values()]} == {3}


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("own_study.py:stud", "unknown study 'stud' of 'own_study.py'; did you mean study"),
        ("own_study.py:number", "number is a int, a Study is needed"),
        ("own_study.py", "FILE.py:NAME, a file that is here and a study in it"),
        ("nothing.py:study", "FILE.py:NAME, a file that is here"),
        ("own_broken.py:study", r"module 'own_broken' cannot be imported: NameError: .*\(own_broken.py, line 2\)"),
        ("json.py:study", "Python has another of this name, .*json.*; rename it"),
    ],
)
def test_files_that_hold_no_study(
    place: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    own_file(tmp_path)
    (tmp_path / "own_broken.py").write_text("x = 1\nnothing_there\n")
    (tmp_path / "json.py").write_text("study = 1\n")
    with pytest.raises(ConfigError, match=words) as caught:
        load_study(place)
    assert "\n" not in str(caught.value)
    assert grid.main(["--study", place, "--show"]) == 2 and capsys.readouterr().err.count("\n") == 1


def test_processes_import_what_was_announced(tmp_path: Path) -> None:
    """A method of one's own is known wherever the environment says so, and to nobody else."""
    body = "from pat.methods import Method, register_method\n@register_method\nclass Own(Method):\n    pass\n"
    (tmp_path / "own_method.py").write_text(body)
    announce("own_method", str(tmp_path))
    code = "from pat.plugins import load_plugins; load_plugins(); from pat import list_methods; print(list_methods())"
    for environment, known in (({}, True), ({VARIABLE: "[]"}, False)):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
        )
        assert ("own_method" in done.stdout) == known, done.stderr


def test_a_file_that_fails_hurts_nobody_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text("")
    (tmp_path / "own_package" / "bad.py").write_text("import no_such_module\n")
    (tmp_path / "own_package" / "good.py").write_text("")
    sys.path.insert(0, str(tmp_path))
    import_siblings("own_package", ["bad", "good"])
    said = capsys.readouterr().err
    assert said.startswith("own_package.bad is left out: ModuleNotFoundError: No module named 'no_such_module' (bad.py")
    assert said.count("\n") == 1 and "own_package.good" in sys.modules
    with pytest.raises(ConfigError, match="module 'own_nothing' cannot be imported: ModuleNotFoundError"):
        import_own("own_nothing")


def test_an_entry_point_that_fails_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Point:
        name, value = "theirs", "their.module"

        def load(self) -> None:
            raise ImportError("no such thing")

    monkeypatch.setattr(plugins, "entry_points", lambda group: [Point()])
    plugins._load_entry_points.cache_clear()
    plugins.load_plugins()
    plugins.load_plugins()
    plugins._load_entry_points.cache_clear()
    said = capsys.readouterr().err
    assert said.startswith("plug-in 'theirs' (their.module) is left out: ImportError: no such thing")
    assert said.count("\n") == 1


def test_any_models_of_timm() -> None:
    study = small_study()
    found = with_pairs(study, [("resnet18.a1_in1k", MLP_STUDENT), (VIT_TEACHER, "tv_resnet34")])
    assert found.pairs == (("resnet18", MLP_STUDENT), (VIT_TEACHER, "resnet34"))
    assert found.teachers["resnet18"] == study.teachers[CNN_TEACHER]  # the recipe of its own family
    assert found.initial["resnet18"] == "timm:resnet18.a1_in1k" and isinstance(found.students["resnet34"], Recipe)
    assert with_pairs(study, study.pairs) == study
    with pytest.raises(ConfigError, match="unknown teacher 'resnet_18'; did you mean"):
        with_pairs(study, [("resnet_18", MLP_STUDENT)])


def test_own_data(tmp_path: Path) -> None:
    path = make(tmp_path / "My Pets!", {"train": 6, "test": 2})
    study, root = with_data(small_study(), str(path))
    assert study.name == f"{small_study().name}-My_Pets" and root == tmp_path
    assert study.data.name == "folder:My Pets!" and study.data.image_size == small_study().data.image_size
    with pytest.raises(ConfigError, match="--data 'nowhere': no such folder"):
        with_data(small_study(), "nowhere")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("recipe.lr=nan", r"--set recipe.lr=nan: recipe.lr = 'nan': a number is needed"),
        ("recipe.epoch=3", "--set recipe.epoch=3: unknown field 'epoch' of recipe; did you mean epochs"),
        ("search.trials=5", "search.trials = 5: 0, or whole waves"),
        ("nothing", "FIELD=VALUE, with a field of the study"),
        ("model.depth=3", "FIELD=VALUE, with a field of the study or recipe, data, search"),
        ("threads=0", "threads = 0: a positive number"),
        ("data.image_size=-1", "data.image_size = -1: a positive number"),
    ],
)
def test_settings_that_cannot_be(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        with_settings(small_study(), [text])


def test_settings_make_another_study() -> None:
    found = with_settings(small_study(), ["recipe.epochs=4", "threads=2", "recipe.optimizer=lamb"])
    assert found.name == f"{small_study().name}-epochs4-threads2-optimizerlamb" and found.threads == 2
    recipes = [one for one in (*found.teachers.values(), *found.students.values()) if isinstance(one, Recipe)]
    assert {(one.epochs, one.optimizer) for one in recipes} == {(4, "lamb")}


def test_seeds_of_ones_own(replayed: None, tmp_path: Path) -> None:
    study = small_study(pairs=((CNN_TEACHER, MLP_STUDENT),), methods=("kd",), seeds=(2, 7))
    folder, driver, _ = drive(tmp_path, study)
    rows = read_runs(folder)
    assert driver.planner.complete
    assert set(rows[rows["phase"].isin(("scratch", "confirm"))]["seed"]) == {2, 7}
    assert grow(study, replace(study, seeds=1), folder).seeds == (1, 2, 7)
    assert united_seeds(2, 3) == 3 and united_seeds([5], 2) == [1, 2, 5] and united_seeds([5, 1], [5]) == [1, 5]
    result = Result(folder, complete=True)
    best = result.best()
    assert len(best) == 2 and set(best["method"]) == {"scratch", "kd"} and set(best["seed"]) <= {2, 7}
    assert len(result.runs) == len(rows) and len(result.epochs) >= len(rows)
    for seeds in ((), (0, 1), (1, 1), (-1,), 0):
        with pytest.raises(ConfigError, match="seeds = "):
            small_study(seeds=seeds)


def test_one_cell_alone(capsys: pytest.CaptureFixture[str]) -> None:
    cell = ["--preset", "digits", "--only", "resnet18:vit_nano_patch8_32:dkd"]
    assert grid.main([*cell, "--show"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["pairs"] == [["resnet18", "vit_nano_patch8_32"]] and shown["methods"] == ["dkd"]
    assert grid.main([*cell, "--methods", "kd", "--show"]) == 2
    assert "--only 'resnet18:vit_nano_patch8_32:dkd': teacher:student:method, without" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["presets", "methods", "data", "models", "tasks"])
def test_what_there_is(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert grid.main(["--list", what]) == 0
    known = {"presets": "digits", "methods": "pat", "data": "cifar100", "models": "resnet18", "tasks": "detection"}
    assert known[what] in [line.split()[0] for line in capsys.readouterr().out.splitlines()]


def test_the_public_face() -> None:
    assert {*sweeps.__all__} <= {*dir(sweeps)} | {name for name in sweeps.__all__ if getattr(sweeps, name)}
    assert space("kd", temperature=Log(1, 8), weight=[0.5, 1]) == {"temperature": Log(1, 8), "weight": (0.5, 1)}
    with pytest.raises(ConfigError, match="unknown option 'temprature' of method 'kd'"):
        space("kd", temprature=Log(1, 8))
    with pytest.raises(ConfigError, match="a Study is needed"):
        run("digits")  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        sweeps.nothing  # noqa: B018

"""What a study is, which changes its folder accepts, and what a bad one is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, small_study

from pat.config import ConfigError, Data
from pat.methods import list_methods
from pat.options import teacherless
from sweeps import published
from sweeps.configs import default_options, student_run
from sweeps.planning.search import Result, complete, suggest, told
from sweeps.planning.view import EPOCH_COLUMNS, RUN_COLUMNS
from sweeps.presets import PRESETS, preset
from sweeps.spaces import inside
from sweeps.store import open_study, read_study
from sweeps.study import SCRATCH, Search, Study, TeacherFile
from tests.tags import add_tag

PAT_OPTIONS: dict[str, Any] = dict(small_study().options)
SEARCHED = [method for method in list_methods() if method not in (SCRATCH, "longer", "hgkd", "spark")]
"""Every method has a space."""


def test_a_study_survives_its_file(tmp_path: Path) -> None:
    study = small_study(
        teachers={CNN_TEACHER: TeacherFile("t", "ab" * 32), VIT_TEACHER: RECIPE},
        workers={"pat": 2},
        options={"pat": {"prompt_depth": (1, 2)}},
        choices={"kd": {"weight": (1.0, 2.0)}},
        corrections={f":{MLP_STUDENT}": {"pat": {"prompt_depth": (3, 4)}}},
        anchors=((CNN_TEACHER, MLP_STUDENT),),
    )
    folder, _ = open_study(tmp_path, study)
    assert read_study(folder) == study


@pytest.mark.parametrize(
    "growth",
    [
        {"seeds": 5},
        {"methods": ("kd", "pat", "scratch")},
        {"search": Search(trials=12, wave=4)},
        {"pairs": ((CNN_TEACHER, MLP_STUDENT), (VIT_TEACHER, CNN_STUDENT), (CNN_TEACHER, CNN_STUDENT))},
    ],
)
def test_growth_is_accepted_and_kept(tmp_path: Path, growth: dict[str, Any]) -> None:
    open_study(tmp_path, small_study())
    _, grown = open_study(tmp_path, small_study(**growth))
    assert grown == small_study(**growth)
    _, again = open_study(tmp_path, small_study())
    assert again == grown


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"data": Data("digits", 16)}, "data.image_size"),
        ({"threads": 2}, "threads"),
        ({"workers": 2}, "workers"),
        ({"confirm_validation": 0.0}, "confirm_validation"),
        ({"search": Search(trials=8, wave=8)}, "search.wave"),
        ({"search": Search(rungs=(0.5, 1.0))}, "search.rungs"),
        ({"students": {CNN_STUDENT: replace(RECIPE, lr=0.2), MLP_STUDENT: RECIPE}}, f"students.{CNN_STUDENT}.lr"),
        ({"options": {"pat": {"regions": 36, "region_dim": 64}}}, "options.pat.regions"),
        ({"options": {**PAT_OPTIONS, "kd": {"weight": 2.0}}}, "options.kd"),
        ({"options": {}}, "options.pat"),
        ({"choices": {"kd": {"weight": (1.0, 2.0)}}}, "choices.kd"),
        ({"initial": {CNN_TEACHER: f"timm:{CNN_TEACHER}.local"}}, f"initial.{CNN_TEACHER}"),
        ({"initial": {f":{MLP_STUDENT}": f"timm:{MLP_STUDENT}.local"}}, f"initial.:{MLP_STUDENT}"),
    ],
)
def test_any_other_difference_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what is said of a method or model for the first time: its runs so far were made without it."""
    for name in (CNN_TEACHER, MLP_STUDENT):
        add_tag(monkeypatch, name, tmp_path / f"{name}.pth")
    open_study(tmp_path, small_study(students={CNN_STUDENT: RECIPE, MLP_STUDENT: RECIPE}))
    with pytest.raises(ConfigError, match=rf"another study of this name: its {field} is") as refusal:
        open_study(tmp_path, small_study(**{"students": {CNN_STUDENT: RECIPE, MLP_STUDENT: RECIPE}, **change}))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("small", "more"),
    [
        ({"methods": ("pat",)}, {"methods": ("pat", "kd"), "options": {**PAT_OPTIONS, "kd": {"weight": 2.0}}}),
        ({"methods": ("kd",)}, {"methods": ("kd", "dkd"), "choices": {"dkd": {"beta": (1.0, 2.0)}}}),
        ({"students": {MLP_STUDENT: RECIPE}, "pairs": ((CNN_TEACHER, MLP_STUDENT),)},
         {"students": {MLP_STUDENT: RECIPE, CNN_STUDENT: RECIPE},
          "initial": {f":{CNN_STUDENT}": f"timm:{CNN_STUDENT}.local"}}),
    ],
)  # fmt: skip
def test_what_is_said_of_a_new_method_or_model_is_growth(
    tmp_path: Path, small: dict[str, Any], more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_tag(monkeypatch, CNN_STUDENT, tmp_path / "tag.pth")
    open_study(tmp_path, small_study(**small))
    _, grown = open_study(tmp_path, small_study(**{**small, **more}))
    assert all(getattr(grown, name) == value for name, value in more.items())


def test_other_numerics_are_refused(tmp_path: Path) -> None:
    folder, _ = open_study(tmp_path, small_study())
    values = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps({**values, "numerics": 0}))
    with pytest.raises(ConfigError, match="numerics is 0, not"):
        open_study(tmp_path, small_study())


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "small"}', "\x00"])
def test_a_broken_study_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "study.json").write_text(text)
    with pytest.raises(ConfigError, match="cannot be read as a study") as refusal:
        open_study(tmp_path, small_study())
    assert "\n" not in str(refusal.value) and "object" not in str(refusal.value)


def test_a_folder_that_is_no_study_and_one_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "small" / "runs").mkdir(parents=True)
    with pytest.raises(ConfigError, match="not the folder of a study"):
        open_study(tmp_path, small_study())
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot"):
        open_study(tmp_path / "file", small_study())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pairs": (("convnext_micro_23", MLP_STUDENT),)}, "unknown teacher.*convnext_micro_32"),
        ({"pairs": ((CNN_TEACHER, "resnet"),)}, "unknown student"),
        ({"teachers": {"convnext_micro_23": RECIPE, CNN_TEACHER: RECIPE, VIT_TEACHER: RECIPE}}, "unknown model"),
        ({"methods": ("pta",)}, "unknown method 'pta'; did you mean pat"),
        ({"options": {"kd": {"wieght": 1}}}, "unknown option 'wieght' of method 'kd'; did you mean weight"),
        ({"data": Data("digit", 32)}, "unknown data set 'digit'"),
        ({"seeds": 0}, "seeds = 0"),
        ({"workers": 3}, "workers = 3: the batch of 32"),
        ({"name": "a/b"}, "study name"),
        ({"initial": {CNN_STUDENT: "timm:x"}}, f"initial weights for {CNN_STUDENT!r}: not a .* write ':{CNN_STUDENT}'"),
        ({"initial": {":resnet_nano": "timm:x"}}, f"unknown student 'resnet_nano'.*initial.*{CNN_STUDENT}"),
        ({"initial": {f":{CNN_STUDENT}": "a.pth"}}, "'a.pth', needed are timm:<name.tag>"),
        ({"initial": {f":{CNN_STUDENT}": "timm:resnet18.a1_in1k"}}, f"student {CNN_STUDENT!r}: weights 'timm:resnet18"),
        ({"initial": {CNN_TEACHER: f"timm:{CNN_TEACHER}.none"}}, f"unknown timm weights '{CNN_TEACHER}.none'"),
    ],
)
def test_bad_studies_are_refused_when_made(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        small_study(**change)


@pytest.mark.parametrize("trials", [-4, 5])
def test_trials_are_whole_waves(trials: int) -> None:
    with pytest.raises(ConfigError, match="whole waves of 4"):
        Search(trials=trials, wave=4)


def test_rungs_in_epochs() -> None:
    assert Search().epochs(10) == (3, 10)
    assert Search(rungs=(0.01, 0.02, 1.0)).epochs(10) == (1, 10)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), method=st.sampled_from(SEARCHED), name=st.sampled_from(list(PRESETS)))
def test_every_space_builds_a_valid_run(seed: int, method: str, name: str) -> None:
    study = preset(name)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask()
    cell = study.cell(*study.pairs[0], method)
    options = complete(study, cell, suggest(study.space(method), trial))
    config = student_run(study, cell, options, 0, "run:0")
    assert config.method.options == options
    assert all(float(f"{value:.4g}") == value for value in options.values() if isinstance(value, float))
    told(study.space(method), Result(options, "finished", ((1, 50.0),)))


@pytest.mark.parametrize("name", PRESETS)
def test_the_default_lies_in_the_space_of_every_preset(name: str) -> None:
    study = preset(name)
    serving = (method for method in SEARCHED if method in list_methods(study.task.name))
    methods = tuple(method for method in serving if study.teaches() or teacherless(method))
    for cell in replace(study, methods=methods).cells():
        assert study.space(cell.method), cell.method
        default = default_options(study, cell)
        assert all(inside(kind, default[name]) for name, kind in study.space(cell.method).items()), cell


def test_the_cifar100_preset_is_the_papers_matrix() -> None:
    study = preset("cifar100")
    assert study.pairs == published.CIFAR100_PAIRS and len(set(study.pairs)) == 12
    assert study.methods == published.COLUMNS and set(published.METHODS) < set(published.COLUMNS) <= set(list_methods())
    assert study.recipe("resnet18").lr == 0.05 and study.confirm_validation == 0
    assert study.recipe("resmlp_12_224").auto_augment == "rand-m9-mstd0.5-inc1"
    assert {recipe.batch_size for recipe in study.students.values()} == {128}
    assert {recipe.batch_size for recipe in preset("cifar100-1024").students.values()} == {1024}


def test_the_imagenet_preset_is_the_papers_matrix() -> None:
    study = preset("imagenet")
    assert len(set(study.pairs)) == 15 and ("resnet50", "swin_nano_patch4_window7_224") in study.pairs
    assert study.recipe("resnet18").schedule == "step" and study.recipe("resnet18").epochs == 100
    assert study.recipe("resmlp_12_224").epochs == 300 and not study.initial


def test_corrections_change_the_default_of_their_cells_only() -> None:
    study = preset("cifar100")
    for cell in study.cells():
        expected = 0.1 if cell.method == "ofa" and cell.student in published.CNN_STUDENTS else 1.0
        assert cell.method != "ofa" or default_options(study, cell)["weight"] == expected
    pair = preset("imagenet")
    found = {cell: default_options(pair, cell)["epsilon"] for cell in pair.cells() if cell.method == "ofa"}
    assert [str(cell) for cell, value in found.items() if value != 1.0] == ["deit_tiny_patch16_224 -> resnet18 ofa"]
    fitnet = preset("digits", methods=("fitnet",), options=published.PAT_CODE_FITNET)
    assert default_options(fitnet, fitnet.cells()[0])["kd_weight"] == 1.0
    with pytest.raises(ConfigError, match="corrections of 'resnet18': :student or teacher:student"):
        preset("cifar100", corrections={"resnet18": {}})
    with pytest.raises(ConfigError, match="'weigth' of method 'ofa'"):
        preset("cifar100", corrections={":resnet18": {"ofa": {"weigth": 1}}})


def test_the_planner_sees_no_test_score() -> None:
    assert not [name for name in (*RUN_COLUMNS, *EPOCH_COLUMNS) if "test" in name]


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean cifar100"):
        preset("cifar10")
    assert isinstance(preset("digits", seeds=1), Study)


def test_a_typo_in_a_policy_is_found_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="recipe.auto_augment = 'rand-m9-mst0.5'"):
        small_study(students={**small_study().students, CNN_STUDENT: replace(RECIPE, auto_augment="rand-m9-mst0.5")})

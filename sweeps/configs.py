"""The runs of a study: the configuration of each teacher, baseline, search trial and confirmation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pat.config import Method, RunConfig, Teacher
from sweeps.settings import RECIPE, complete_setting, parts, recipe_space, scaled
from sweeps.study import SEARCH_SEED, Cell, Study, TeacherFile
from sweeps.teacher_seeds import model_of, teacher_seed


def default_options(study: Study, cell: Cell) -> dict[str, Any]:
    """The paper's default setting of a cell: the method's defaults, with this study's replacements and corrections."""
    options = dict(study.options.get(cell.method, {}))
    for key in (f":{cell.student}", f"{cell.teacher}:{cell.student}"):
        options |= study.corrections.get(key, {}).get(cell.method, {})
    return complete_setting(cell.method, {**options, **dict.fromkeys(recipe_space(study.spaces.get(RECIPE, {})), 1.0)})


def teacher_run(study: Study, teacher: str, unsynced: int = 1) -> RunConfig | None:
    """The run that trains a teacher, or None where it is a file; `unsynced` as in `student_run`."""
    recipe = study.teachers[teacher]
    if isinstance(recipe, TeacherFile):
        return None
    initial = study.starts_from(teacher)
    return RunConfig(
        student=model_of(teacher),
        data=study.teacher_data(teacher),
        recipe=recipe,
        seed=teacher_seed(teacher),
        threads=study.threads,
        initial=initial,
        unsynced_workers=unsynced,
        task=study.task,
    )


def student_run(
    study: Study,
    cell: Cell,
    options: Mapping[str, Any],
    seed: int,
    weights: str = "",
    unsynced: int = 1,
    pretrained: str = "",
) -> RunConfig:
    """One run of a cell. `weights` identify its teacher's (`run:…`, `sha256:…`); unused for scratch. Where the method
    is one of pre-training, the run is one of scratch that begins with the weights `pretrained` (`run:…`).

    A teacher from a timm tag has the tag's full name: other tags of a model may ask for other pixel statistics.
    `unsynced` is the number of workers where a student's BatchNorm makes it part of the identity, else 1.
    """
    data = study.data
    if seed != SEARCH_SEED and study.confirm_validation is not None:
        data = replace(data, validation=study.confirm_validation)
    own, multiples = parts(options)
    initial, method, teacher = study.starts_from(f":{cell.student}"), Method(cell.method, own), None
    if study.pretrains(cell.method):
        initial, method = pretrained, Method()
    elif cell.teacher:
        teacher = _teacher(study, cell, weights)
    return RunConfig(
        student=cell.student,
        data=data,
        recipe=scaled(replace(study.recipe(cell.student), epochs=study.epochs(cell)), multiples),
        method=method,
        teacher=teacher,
        seed=seed,
        threads=study.threads,
        initial=initial,
        unsynced_workers=unsynced,
        task=study.task,
    )


def pretrain_run(
    study: Study, cell: Cell, options: Mapping[str, Any], weights: str = "", unsynced: int = 1
) -> RunConfig:
    """The run that precedes those of a cell whose method is one of pre-training; arguments as `student_run`'s."""
    before = study.pretraining
    assert before is not None
    return RunConfig(
        student=cell.student,
        data=before.data,
        recipe=before.recipe,
        method=Method(cell.method, parts(options)[0]),
        teacher=_teacher(study, cell, weights) if cell.teacher else None,
        seed=SEARCH_SEED,
        threads=study.threads,
        initial=study.starts_from(f":{cell.student}"),
        unsynced_workers=unsynced,
        task=before.task,
    )


def _teacher(study: Study, cell: Cell, weights: str) -> Teacher:
    return Teacher(teacher_name(study, cell), weights, study.teacher_sizes.get(cell.teacher, 0))


def teacher_name(study: Study, cell: Cell) -> str:
    """timm's name of a cell's teacher, in full where it is one of its tags."""
    source = study.teachers.get(cell.teacher)
    return (source.tag if isinstance(source, TeacherFile) else "") or model_of(cell.teacher)

"""The runs of a study: the configuration of each teacher, baseline, search trial and confirmation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pat.config import Method, RunConfig, Teacher
from pat.methods import method_options
from sweeps.study import SEARCH_SEED, Cell, Study, TeacherFile


def default_options(study: Study, cell: Cell) -> dict[str, Any]:
    """The paper's default setting of a cell: the method's defaults, with this study's replacements and corrections."""
    options = dict(study.options.get(cell.method, {}))
    for key in (f":{cell.student}", f"{cell.teacher}:{cell.student}"):
        options |= study.corrections.get(key, {}).get(cell.method, {})
    return method_options(cell.method, options)


def teacher_run(study: Study, teacher: str, unsynced: int = 1) -> RunConfig | None:
    """The run that trains a teacher, or None where it is a file; `unsynced` as in `student_run`."""
    recipe = study.teachers[teacher]
    if isinstance(recipe, TeacherFile):
        return None
    initial = study.initial.get(teacher, "")
    return RunConfig(
        student=teacher,
        data=study.teacher_data(teacher),
        recipe=recipe,
        seed=SEARCH_SEED,
        threads=study.threads,
        initial=initial,
        unsynced_workers=unsynced,
        task=study.task,
    )


def student_run(
    study: Study, cell: Cell, options: Mapping[str, Any], seed: int, weights: str = "", unsynced: int = 1
) -> RunConfig:
    """One run of a cell. `weights` identify its teacher's (`run:…`, `sha256:…`); unused for scratch.

    A teacher from a timm tag has the tag's full name: other tags of a model may ask for other pixel statistics.
    `unsynced` is the number of workers where a student's BatchNorm makes it part of the identity, else 1.
    """
    source = study.teachers.get(cell.teacher)
    name = (source.tag if isinstance(source, TeacherFile) else "") or cell.teacher
    data = study.data
    if seed != SEARCH_SEED and study.confirm_validation is not None:
        data = replace(data, validation=study.confirm_validation)
    return RunConfig(
        student=cell.student,
        data=data,
        recipe=study.recipe(cell.student),
        method=Method(cell.method, options),
        teacher=Teacher(name, weights, study.teacher_sizes.get(cell.teacher, 0)) if cell.teacher else None,
        seed=seed,
        threads=study.threads,
        initial=study.initial.get(f":{cell.student}", ""),
        unsynced_workers=unsynced,
        task=study.task,
    )

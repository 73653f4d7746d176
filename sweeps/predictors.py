"""What is known of a study's teachers before they teach, measured once when the study is complete.

Everything is taken on images that no run is trained on: the validation images, or, where the runs keep none, those of
the test set, whose labels are not looked at then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from analysis import ledger, storage
from analysis.predictors import FILE, TEACHER, as_text, read_predictors
from pat import traits
from pat.config import ConfigError
from pat.data import Labelled, load
from pat.tasks import Task, create_task
from pat.tasks.classification import Classification
from sweeps.configs import teacher_run
from sweeps.costs.flops import forward_flop
from sweeps.engine.jobs import student_path
from sweeps.study import Study, TeacherFile
from sweeps.teacher_seeds import model_of
from sweeps.teachers import local_file

IMAGES = 512
"""So many images at most, so that it is quick without a GPU too."""


def write_predictors(folder: Path, study: Study, root: Path, say: Callable[[str], None]) -> None:
    """Measure the teachers of the study that `folder` has no numbers of yet, and how alike their features and those of
    each student's first scratch run are; null where weights are gone or timm names no classifier. Only for
    classification."""
    known = read_predictors(folder)
    scratch = _scratch_files(folder)
    wanted = [pair for pair in study.pairs if {"teacher": pair[0], "student": pair[1]} not in _named(known["pairs"])]
    if study.task.name != Classification.name or not wanted:
        return
    say(f"looking at what may tell how good a teacher is, on up to {IMAGES} images")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dataset = load(study.data, root).to(device)
    split = cast("Labelled", dataset.val if len(dataset.val) else dataset.test)
    features: dict[str, Tensor | None] = {}
    for teacher, student in wanted:
        task = create_task(study.task, study.teacher_data(teacher), dataset.num_classes)
        if teacher not in features:
            found, features[teacher] = _teacher(folder, study, teacher, task, split, len(dataset.val) > 0, device)
            known["teachers"][teacher] = found
        own = create_task(study.task, study.data, dataset.num_classes)
        if student not in features:
            features[student] = _features(own, student, scratch.get(student), split, device)
        ratio = forward_flop(task, model_of(teacher)) / forward_flop(own, student)
        pair = {"teacher": teacher, "student": student, "flop_ratio": ratio, "similarity": None}
        one, other = features[teacher], features[student]
        if one is not None and other is not None:
            pair["similarity"] = traits.cka(one, other)
        known["pairs"].append(pair)
    storage.write_file(folder, FILE, as_text(known))


def _teacher(
    folder: Path, study: Study, name: str, task: Task, split: Labelled, labelled: bool, device: torch.device
) -> tuple[dict[str, Any], Tensor | None]:
    """What is known of a teacher, and its features."""
    source, trained = study.teachers[name], teacher_run(study, name)
    model_name = model_of(name)
    if isinstance(source, TeacherFile):
        model_name, path = source.tag or name, local_file(source, folder)
    else:
        assert trained is not None
        path = student_path(folder, trained.run_id)
    found: dict[str, Any] = dict.fromkeys(TEACHER)
    if (model := _model(task, model_name, path, device)) is None:
        return found, None
    found["params"] = sum(p.numel() for p in model.parameters())
    try:
        logits, features, labels = traits.seen(model, split, task.data, IMAGES)
    except ConfigError:
        return found, None
    ratio = traits.logit_ratio(logits)
    found |= {"entropy": traits.entropy(logits), "logit_ratio": ratio if math.isfinite(ratio) else None}
    found["alike"] = traits.self_similarity(features)
    if labelled:
        found["score"] = 100 * float((logits.argmax(1) == labels).double().mean())
    return found, features


def _features(task: Task, name: str, path: Path | None, split: Labelled, device: torch.device) -> Tensor | None:
    """A student's features, None where its weights are gone."""
    model = _model(task, name, path, device)
    try:
        return None if model is None else traits.seen(model, split, task.data, IMAGES)[1]
    except ConfigError:
        return None


def _model(task: Task, name: str, path: Path | None, device: torch.device) -> nn.Module | None:
    """The model whose weights are in a file, None where that is gone."""
    return task.trained(name, path)[0].to(device) if path is not None and path.exists() else None


def _scratch_files(folder: Path) -> dict[str, Path]:
    """Of each student the weights of its first scratch run that are still there."""
    rows = [row for row in ledger.read_matrix_rows(folder) if row["setting"] == "scratch" and row["run_id"]]
    found: dict[str, Path] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        if (path := student_path(folder, row["run_id"])).exists():
            found.setdefault(row["student"], path)
    return found


def _named(pairs: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [{"teacher": pair["teacher"], "student": pair["student"]} for pair in pairs]

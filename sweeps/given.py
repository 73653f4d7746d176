"""What the teachers of a study score on its own images, before anything is spent on what they teach."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from analysis import ledger
from analysis.account import read_account, write_account
from analysis.chance import at_chance, chance_line
from analysis.metrics import METRICS
from analysis.words import counted
from pat.data import Dataset
from pat.tasks import Task, create_task
from sweeps.configs import teacher_run
from sweeps.study import Study, TeacherFile
from sweeps.teachers import local_file, recorded

IMAGES, ON_CPU = 1024, 128
"""So many images at most, evenly out of all, so that it takes seconds."""
CPU = torch.device("cpu")
Say = Callable[[str], None]


def chance_of(study: Study, dataset: Dataset) -> float:
    """What a constant answer scores on the study's test images; nan where there is no such score."""
    return create_task(study.task, study.data, dataset.num_classes).chance(dataset.test)


def keep_account(study: Study, folder: Path, dataset: Dataset) -> None:
    """Keep what the study's data set holds in its folder."""
    write_account(folder, dataset.account, dataset.classes, chance_of(study, dataset), len(dataset.test))


def say_scores(study: Study, folder: Path, images: Callable[[], Dataset], say: Say) -> None:
    """Of the teachers that the pairs use: what those score that are given and whose file is here, on the `images` that
    are read for it, and which of those that were trained here are at chance."""
    study, known = recorded(study, folder), read_account(folder)
    for name in study.used_teachers():
        source = study.teachers[name]
        if isinstance(source, TeacherFile):
            path = local_file(source, folder)
            if source.sha256 and path.exists():
                dataset = images()
                say_score(source.tag or name, path, create_task(*study.taught(name), dataset.num_classes), dataset, say)
            continue
        run = teacher_run(study, name)
        row = ledger.read_run(folder, run.run_id) if run else None
        if row is not None and row["status"] == "finished":
            score, chance = row[f"test_last_{row['exported']}"], known.get("chance")
            if chance is not None and at_chance(score, chance, row["test_images"]):
                say(f"warning: {chance_line(f'the teacher {name}', score, chance)}")


def say_score(name: str, path: Path, task: Task, dataset: Dataset, say: Say, device: torch.device = CPU) -> None:
    """Score a given teacher and say it, and whether it is at chance. `task`: as the teacher has it. Nothing is done
    where a score has no chance level. On the CPU unless a device is given: the driver of a study holds none."""
    part, split = ("validation", dataset.val) if len(dataset.val) else ("test", dataset.test)
    if math.isnan(task.chance(split)):
        return
    step = math.ceil(len(split) / (ON_CPU if device.type == "cpu" else IMAGES))
    some = split.take(torch.arange(0, len(split), step, device=split.device)).to(device)
    model, _ = task.trained(name, path)
    score, chance = task.score(model.to(device), some).score, task.chance(some)
    say(f"the given teacher {name}: {METRICS[task.metric].told(score)} on {counted(len(some), f'{part} image')}")
    if at_chance(score, chance, len(some)):
        say(f"warning: {chance_line(f'the given teacher {name}', score, chance)}; nothing can be learnt from it")

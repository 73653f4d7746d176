"""Studies under one storage whose runs are replayed, and leave students' files."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, fake_train, small_study

from pat.config import Data, RunConfig, Task
from pat.io import IO
from pat.models import create_student
from pat.train import Outcome
from sweeps.configs import teacher_run
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.engine.kept import Keep
from sweeps.engine.siblings import provide_initial_runs
from sweeps.pretraining import Pretraining
from sweeps.store import open_study
from sweeps.study import Search, Study

KILLS = ("before", "between", "after")


def exporting_train(config: RunConfig, world: IO, **rest: Any) -> Outcome:
    """Replays a run, and exports what the CNN student begins with, or of another model one number of its own."""
    outcome = fake_train(config, world, **rest)
    if outcome.status != "finished":
        return outcome
    weights = {"weight": torch.tensor([float(int(config.run_id[:6], 16))])}
    digest = world.export(
        create_student(CNN_STUDENT, 10, 32, 0).state_dict() if config.student == CNN_STUDENT else weights
    )
    return replace(outcome, student_sha256=digest)


def drive(storage: Path, study: Study, keep: Keep = "all") -> tuple[Path, str]:
    """Complete a study in this process as the command does; its folder, and what was said."""
    folder, grown = open_study(storage, study)
    said = io.StringIO()
    driver = Driver(folder, grown, study, storage, stream=said, keep=keep)
    driver.foresee()
    driver.adopt()
    provide_initial_runs(folder, driver.planner)
    run_here(driver)
    return folder, said.getvalue()


def of_teacher(study: Study, name: str = CNN_TEACHER) -> str:
    run = teacher_run(study, name)
    assert run is not None
    return run.run_id


def small(**changes: Any) -> Study:
    """The small study without a search, with one method."""
    return small_study(**{"methods": ("kd",), "search": Search(trials=0), **changes})


DONOR = small(name="donor")


def chained() -> Study:
    """The CNN student begins as the CNN teacher of the same study: one model on both sides."""
    study = small_study(
        teachers={CNN_STUDENT: replace(RECIPE, epochs=4), VIT_TEACHER: RECIPE},
        pairs=((CNN_STUDENT, MLP_STUDENT), (VIT_TEACHER, CNN_STUDENT)),
        methods=("kd",),
        search=Search(trials=2, wave=2),
    )
    return replace(study, initial={f":{CNN_STUDENT}": f"run:{of_teacher(study, CNN_STUDENT)}"})


SPARSE, TOKENS = "convnext_nano_patch1_32", "vit_micro_patch4_32"
MASKED = Task("generation", {"cell": 8, "stride": 4})


def pretrained(**changes: Any) -> Study:
    """One student under two teachers, and what a pre-training brings beside what a teacher does; nobody trains."""
    teachers = (TOKENS, "mixer_micro_patch4_32")
    given = {
        "teachers": dict.fromkeys(teachers, RECIPE),
        "students": {SPARSE: RECIPE},
        "pairs": tuple((teacher, SPARSE) for teacher in teachers),
        "methods": ("hgkd", "spark", "longer", "kd"),
        "pretraining": Pretraining(Data("digits", 32), replace(RECIPE, epochs=4), MASKED, longer=1.5),
    }
    return small(**{**given, **changes})

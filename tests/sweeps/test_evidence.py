"""The studies of the evidence: every pair once, those that cross families first, every column searched alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stored import stored_study, stored_train
from test_driver import drive, same

import sweeps.engine.runs
from pat.config import RunConfig
from pat.models import family
from pat.train import Outcome
from sweeps.presets import preset
from tests import evidence


@pytest.mark.parametrize("name", ["cifar100-evidence", "cifar100-evidence-gpu"])
def test_each_teacher_and_student_meet_once_and_those_of_other_families_first(name: str) -> None:
    study = preset(name)
    assert len(set(study.pairs)) == 9
    for first in (study.pairs[:3], study.pairs[3:6]):
        assert {teacher for teacher, _ in first} == set(study.teachers)
        assert {student for _, student in first} == set(study.students)
        assert all(family(teacher) != family(student) for teacher, student in first)
    assert all(family(teacher) == family(student) for teacher, student in study.pairs[6:])


def test_a_study_goes_on_from_what_was_committed_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Teachers included: nothing that was done is done again."""
    trained: list[str] = []

    def train(config: RunConfig, *given: Any, **files: Any) -> Outcome:
        trained.append(config.run_id)
        return stored_train(config, *given, **files)

    monkeypatch.setattr(sweeps.engine.runs, "train", train)
    folder, *_ = drive(tmp_path / "first", stored_study())
    done = set(trained)
    study = evidence.add(folder, tmp_path / "evidence")
    again = evidence.restore(study, tmp_path / "second" / folder.name)
    with pytest.raises(ValueError, match="something here already"):
        evidence.restore(study, again)
    trained.clear()
    drive(tmp_path / "second", stored_study())
    assert trained == []
    drive(tmp_path / "second", stored_study(seeds=2))
    assert trained and not done & set(trained)
    drive(tmp_path / "whole", stored_study(seeds=2))
    same(tmp_path / "second" / folder.name, tmp_path / "whole" / folder.name)

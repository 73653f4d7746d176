"""The studies of the evidence: every pair once, those that cross families first, every column searched alike."""

from __future__ import annotations

import pytest

from pat.models import family
from sweeps.presets import preset


@pytest.mark.parametrize("name", ["cifar100-evidence", "cifar100-evidence-gpu"])
def test_each_teacher_and_student_meet_once_and_those_of_other_families_first(name: str) -> None:
    study = preset(name)
    assert len(set(study.pairs)) == 9
    for first in (study.pairs[:3], study.pairs[3:6]):
        assert {teacher for teacher, _ in first} == set(study.teachers)
        assert {student for _, student in first} == set(study.students)
        assert all(family(teacher) != family(student) for teacher, student in first)
    assert all(family(teacher) == family(student) for teacher, student in study.pairs[6:])

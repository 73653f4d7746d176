"""The lists of `tests.mutants` fit the code as it stands, and grow with it. The mutants themselves run nightly."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.answers import ANSWERS, answering
from tests.mutants.mutant import Mutant
from tests.mutants.rooms import ROOMS

ROOT = Path(__file__).parents[1]
ALL = [mutant for room in ROOMS.values() for mutant in room]


@pytest.mark.parametrize("mutant", ALL, ids=str)
def test_every_mutant_still_applies(mutant: Mutant) -> None:
    found = (ROOT / mutant.file).read_text().count(mutant.old)
    assert found == 1, f"its text stands {found} times in {mutant.file}: give it the text that the rule has now"
    assert mutant.new != mutant.old, "it changes nothing"
    assert answering(mutant.file), f"say in tests/mutants/answers.py which tests answer for {mutant.file}"


def test_no_room_is_empty_and_no_fault_stands_twice() -> None:
    few = [name for name, room in ROOMS.items() if len(room) < 8]
    assert not few and len(ALL) >= 60, f"{len(ALL)} mutants, rooms with fewer than 8: {few}; add faults there"
    assert len(set(ALL)) == len(ALL)


def test_what_answers_exists() -> None:
    lost = [test for tests in ANSWERS.values() for test in tests if not (ROOT / test.partition("::")[0]).exists()]
    assert not lost, f"tests/mutants/answers.py names tests that are gone: {lost}"
    moved = [place for place in ANSWERS if not (ROOT / place).exists()]
    assert not moved, f"tests/mutants/answers.py names sources that are gone: {moved}"


@pytest.mark.parametrize("folder", ["pat/methods", "pat/tasks", "pat/dense", "sweeps/planning", "analysis/stats"])
def test_the_lists_grow_with_the_code(folder: str) -> None:
    """Every module there that computes or decides something has a fault that its tests must notice."""
    modules = {path: ast.parse(path.read_text()) for path in sorted((ROOT / folder).glob("*.py"))}
    logic = [
        path for path, tree in modules.items() if any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))
    ]
    names = [path.relative_to(ROOT).as_posix() for path in logic]
    missing = sorted(set(names) - {mutant.file for mutant in ALL})
    assert not missing, f"no mutant of {', '.join(missing)}: add one to its list in tests/mutants"

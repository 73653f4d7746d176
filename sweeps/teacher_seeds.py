"""A teacher trained more than once: `NAME@2` is the model NAME under another seed, a teacher of its own to a study.

Its cells stand beside those of NAME, with the same seeds and baselines, so that students of one seed differ in the
teacher's seed alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from analysis.schema import AT
from pat.config import ConfigError, Recipe
from sweeps.cell import SEARCH_SEED

if TYPE_CHECKING:
    from sweeps.study import Study

T = TypeVar("T")
MOST = 100
FURTHER = 10_000
"""Beyond the seeds of confirmation, so that a student never shares the draws of its teacher."""


def model_of(name: str) -> str:
    """The model that a study's teacher is, whatever seed it is trained under; of a student, itself."""
    return name.partition(AT)[0]


def further_seed(name: str) -> int:
    """Which further seed a teacher's is; 0 for the first. Raises ConfigError for a mark without such a number."""
    _, mark, number = name.partition(AT)
    if mark and not re.fullmatch(r"[1-9]\d?", number):
        raise ConfigError(f"teacher {name!r}: behind {AT} stands which further seed it is, from 1 to {MOST - 1}")
    return int(number or 0)


def teacher_seed(name: str) -> int:
    """The seed that a teacher is trained under: the search's, or one that no student has."""
    further = further_seed(name)
    return FURTHER + further if further else SEARCH_SEED


def with_teacher_seeds(study: Study, count: int) -> Study:
    """The study with each teacher that it trains under `count` seeds, and each pair with each of them, those that were
    there first. Raises ConfigError for a teacher that is given: it is one, whatever the seed."""
    if not 1 <= count <= MOST:
        raise ConfigError(f"teacher_seeds = {count}: 1 to {MOST}")
    models = [name for name in study.used_teachers() if AT not in name]
    for name in models if count > 1 else ():
        if not isinstance(study.teachers[name], Recipe):
            raise ConfigError(f"teacher_seeds = {count}: teacher {name!r} is given, and has no seeds")
    numbers = range(1, count)

    def more(values: Mapping[str, T]) -> dict[str, T]:
        """What is said of a teacher, and of a pair, is said of its further seeds."""
        named = ((key, *key.partition(":")) for key in values)
        return {
            **values,
            **{
                f"{teacher}{AT}{number}{colon}{student}": values[key]
                for key, teacher, colon, student in named
                for number in numbers
                if teacher in models
            },
        }

    further = [(f"{teacher}{AT}{number}", student) for number in numbers for teacher, student in study.pairs]
    return replace(
        study,
        teachers=more(study.teachers),
        initial=more(study.initial),
        teacher_sizes=more(study.teacher_sizes),
        corrections=more(study.corrections),
        pairs=tuple(dict.fromkeys((*study.pairs, *(pair for pair in further if pair[0].count(AT) == 1)))),
    )

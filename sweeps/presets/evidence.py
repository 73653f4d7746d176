"""The study that the claims of this project rest on: CIFAR-100, all nine pairs of three families, tuned alike."""

from __future__ import annotations

from dataclasses import replace

from sweeps.presets.classification import TINY_OPTIONS, TINY_STUDENTS, cifar100_small, cifar100_small_gpu
from sweeps.search import Search
from sweeps.study import Study

FORMS = ("pat_relational", "pat_hinted")
"""Of PAT, beside the paper's."""
METHODS = ("kd", "dist", "rsd", "fitnet", "ofa", "fbt", "pat", *FORMS)
SEARCH = Search(trials=4, wave=4, eta=4, rungs=(1 / 2, 1.0), prior=0.25, keep_default=True, knobs=1)
"""The default and three settings around it up to half of a run, then the default and the best of the others."""
EPOCHS, TEACHER_EPOCHS = 4, 12


def cifar100() -> Study:
    """Models of 0.05 to 0.3 M parameters for a few cores: pairs that cross families come first."""
    study = cifar100_small()
    short = {name: replace(recipe, epochs=EPOCHS, warmup_epochs=1) for name, recipe in study.students.items()}
    longer = replace(study.students[TINY_STUDENTS[0]], epochs=TEACHER_EPOCHS, warmup_epochs=1)
    return replace(
        study,
        name="cifar100-evidence",
        teachers=dict.fromkeys(study.teachers, longer),
        students=short,
        pairs=_crossing_first(study),
        methods=METHODS,
        search=SEARCH,
        seeds=3,
        options={**TINY_OPTIONS, **dict.fromkeys(FORMS, TINY_OPTIONS["pat"])},
        choices={},
    )


def cifar100_gpu() -> Study:
    """The same with models of 0.3 to 3 M parameters and 60 epochs, for one GPU."""
    study = cifar100_small_gpu()
    return replace(
        study,
        name="cifar100-evidence-gpu",
        pairs=_crossing_first(study),
        methods=METHODS,
        search=SEARCH,
        seeds=3,
        options={**study.options, **dict.fromkeys(FORMS, study.options["pat"])},
    )


def _crossing_first(study: Study) -> tuple[tuple[str, str], ...]:
    """All pairs, three that cross families and have each teacher and student once, three others, those of one family.

    Teachers and students stand in the same order of families.
    """
    teachers, students = list(study.teachers), list(study.students)
    turned = [(turn + place) % 3 for turn in (2, 1, 0) for place in range(3)]
    return tuple((teachers[place % 3], students[other]) for place, other in enumerate(turned))

"""A study: data set, recipes, pairs, methods, seeds and search budget; typed, frozen, checked when it is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pat.config import NUMERICS, ConfigError, Data, Part, Recipe, Task, later, plain, unknown
from pat.methods import check_task, method_options
from pat.models import check_model, check_pretrained
from pat.options import teacherless
from pat.starting import RUN
from pat.tasks import check_data, create_task
from pat.views.randaugment import parse
from sweeps.pretraining import LONGER, Pretraining
from sweeps.search import Search
from sweeps.settings import RECIPE, check_recipe_space, recipe_space
from sweeps.spaces import BEFORE, SPACES, Log, Space, read_space, write_space
from sweeps.teacher_file import TIMM, TeacherFile

SCRATCH, CLASSIFICATION = "scratch", "classification"
SEARCH_SEED = 0
"""The seed of teachers and of every search run; confirmation uses 1, 2, …, which no decision has seen."""


class Cell(NamedTuple):
    """A teacher, a student and a method. Cells of methods that take no teacher, as scratch, are without one."""

    teacher: str
    student: str
    method: str

    def __str__(self) -> str:
        return f"{self.teacher} -> {self.student} {self.method}" if self.teacher else f"{self.student} {self.method}"


@dataclass(frozen=True)
class Study(Part):
    """Everything that a study computes.

    `teachers`: timm name -> the recipe it is trained with here, or the file it is given as. `students`: timm name ->
    recipe. `initial`: a teacher ("name") or a student (":name") -> the weights that its training starts from,
    `timm:<name.tag>`, or `run:<run_id>` for the student that another run has exported (of a study under the same
    storage; a teacher of this one is waited for). A student's are those of all of its runs, its baselines too.
    `teacher_sizes`: teacher -> its own input size in pixels (0: that of `data`), for its training and scores too.
    `options`: method -> options that replace the method's defaults throughout; they are searched only where `choices`
    (method -> option -> values) says so. `corrections`: a student (":name") or a pair ("teacher:student") -> method ->
    options whose published value differs there; only the default setting is theirs, a search goes over them.
    `spaces`: method -> what its searches change, where that is not `SPACES`'s. That of "recipe" holds multiples of
    numbers of the student's own recipe (`{"lr": Log(0.3, 3.0)}`): they are searched with every method's options, and
    for scratch alone, which then is confirmed at its best.
    `anchors`: pairs whose cells are searched first; the first wave of a method's other cells takes over the best
    settings that its anchors found in theirs, as far as anchors share the student or the pair of families.
    A method that takes no teacher is a cell of each student, searched and confirmed once whatever its pairs.
    `seeds` confirmation seeds follow the search. `confirm_validation` is the validation share of scratch and
    confirmation runs (None = that of `data`). `threads` per worker and `workers` per run (a number, or one for each
    method, teachers and scratch being "scratch") belong to the study. `gpu_share` of one GPU is asked for by a
    one-worker run where the cluster has GPUs; None: as probes allow. `task`: what is learnt; the data set must say
    what it needs to know of its images. `pretraining`: what precedes the training of the cells of `hgkd` and `spark`;
    their methods' options are those of the pre-training.
    """

    name: str
    data: Data
    teachers: Mapping[str, Recipe | TeacherFile]
    students: Mapping[str, Recipe]
    pairs: tuple[tuple[str, str], ...]
    methods: tuple[str, ...] = ("kd", "pat")
    search: Search = field(default_factory=Search)
    seeds: int = 3
    initial: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    choices: Mapping[str, Mapping[str, tuple[Any, ...]]] = field(default_factory=dict)
    corrections: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    anchors: tuple[tuple[str, str], ...] = ()
    confirm_validation: float | None = None
    threads: int = 1
    workers: int | Mapping[str, int] = 1
    gpu_share: float | None = None
    task: Task = later(default_factory=Task)
    teacher_sizes: Mapping[str, int] = later(default_factory=dict)
    spaces: Mapping[str, Space] = later(default_factory=dict)
    pretraining: Pretraining | None = later(None)

    def __post_init__(self) -> None:
        own = {
            name: space for name, space in self.spaces.items() if [*space.items()] != [*SPACES.get(name, {}).items()]
        }
        object.__setattr__(self, "spaces", own)
        if SCRATCH in self.methods:
            object.__setattr__(self, "methods", tuple(name for name in self.methods if name != SCRATCH))
        _check_names(self)
        _check_numbers(self)

    def cell(self, teacher: str, student: str, method: str) -> Cell:
        """The cell of a pair and a method; of one that takes no teacher all pairs with the student share it."""
        return Cell("" if teacherless(method) else teacher, student, method)

    def cells(self) -> list[Cell]:
        """Every cell but the baselines, pair by pair."""
        return list(dict.fromkeys(self.cell(*pair, method) for pair in self.pairs for method in self.methods))

    def pretrains(self, method: str) -> bool:
        """Whether the runs of a method begin with what a run of its own has learnt before."""
        return self.pretraining is not None and self.pretraining.has(method)

    def teaches(self) -> bool:
        """Whether a method has teachers of the study's own task; else they are those of its pre-training alone."""
        return any(not teacherless(method) and not self.pretrains(method) for method in self.methods)

    def used_teachers(self) -> list[str]:
        """The teachers of the pairs, where a method takes one, in order of appearance."""
        return list(dict.fromkeys(cell.teacher for cell in self.cells() if cell.teacher))

    def given_teachers(self) -> dict[str, TeacherFile]:
        """The teachers that are not trained here."""
        return {name: source for name, source in self.teachers.items() if isinstance(source, TeacherFile)}

    def used_students(self) -> list[str]:
        """The students of the pairs in order of appearance."""
        return list(dict.fromkeys(student for _, student in self.pairs))

    def teacher_data(self, teacher: str) -> Data:
        """The data as a teacher has it: at its own size."""
        return replace(self.data, image_size=self.teacher_sizes.get(teacher) or self.data.image_size)

    def taught(self, teacher: str) -> tuple[Task, Data]:
        """What a teacher that is given must have learnt, at its own size: the study's task, or that of its pre-training
        where no other method has teachers."""
        of = self if self.teaches() or self.pretraining is None else self.pretraining
        return of.task, replace(of.data, image_size=self.teacher_sizes.get(teacher) or of.data.image_size)

    def recipe(self, student: str) -> Recipe:
        """The recipe of a student."""
        return self.students[student]

    def epochs(self, cell: Cell) -> int:
        """How long a cell's own runs are: as its student's recipe says, longer where that is what the method is for."""
        full = self.recipe(cell.student).epochs
        return round(full * self.pretraining.longer) if self.pretraining and cell.method == LONGER else full

    def space(self, method: str) -> Space:
        """What the searches of a method change: first numbers of the recipe, then its space without what the study
        fixes, then the choices of the study."""
        choices, fixed = self.choices.get(method, {}), self.fixed(method)
        recipe = recipe_space(self.spaces.get(RECIPE, {}))
        left = {name: kind for name, kind in self._whole_space(method).items() if name in choices or name not in fixed}
        return {**recipe, **left, **choices}

    def searches(self, method: str) -> bool:
        """Whether settings of a method, or of scratch, are tried before one is confirmed."""
        return bool(self.search.trials and self.space(method))

    def fixed(self, method: str) -> dict[str, Any]:
        """Options of the method's space that the study sets instead: a search has them, corrections or not."""
        space = self._whole_space(method)
        return {name: value for name, value in self.options.get(method, {}).items() if name in space}

    def _whole_space(self, method: str) -> Space:
        return self.spaces.get(method, SPACES.get(method, {}))

    def workers_of(self, method: str) -> int:
        """How many workers share a run of `method`."""
        return self.workers if isinstance(self.workers, int) else self.workers.get(method, 1)

    def weights(self, student: str) -> str:
        """`ema` or `raw`: the weights that the recipe exports, and on which the search is scored."""
        return "ema" if self.students[student].ema_decay > 0 else "raw"

    def to_dict(self) -> dict[str, Any]:
        """The study as plain JSON values, with the spaces of all of its methods and the numerics of `pat`."""
        spaces = {**{name: SPACES[name] for name in self.methods if name in SPACES}, **self.spaces}
        written = {name: write_space(space) for name, space in spaces.items()}
        return {**super().to_dict(), "spaces": written, "numerics": NUMERICS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Study:
        """The study of `to_dict`. Raises ConfigError for values that make none."""
        try:
            values = {key: plain(value) for key, value in values.items() if key != "numerics"}
            return cls(
                **{
                    **values,
                    "data": Data.from_dict(values["data"]),
                    "teachers": {
                        name: (TeacherFile if "sha256" in value else Recipe).from_dict(value)
                        for name, value in values["teachers"].items()
                    },
                    "students": {name: value and Recipe.from_dict(value) for name, value in values["students"].items()},
                    "pairs": tuple((teacher, student) for teacher, student in values["pairs"]),
                    "anchors": tuple((teacher, student) for teacher, student in values.get("anchors", ())),
                    "search": Search.from_dict(values["search"]),
                    "task": Task.from_dict(values.get("task", {})),
                    "pretraining": (given := values.get("pretraining")) and Pretraining.from_dict(given),
                    "spaces": {
                        **{name: BEFORE[name] for name in values["methods"] if name in BEFORE},
                        **{name: read_space(space) for name, space in values.get("spaces", {}).items()},
                    },
                }
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"not a study: {error}") from error


def _check_names(study: Study) -> None:
    """Models, methods and options exist, and every pair has both sides."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", study.name):
        raise ConfigError(f"study name {study.name!r}: letters, digits, - and _")
    for teacher, student in study.pairs:
        if teacher not in study.teachers:
            raise unknown("teacher", teacher, study.teachers, of=f" of study {study.name!r}")
        if student not in study.students:
            raise unknown("student", student, study.students, of=f" of study {study.name!r}")
    if not study.pairs or len(set(study.pairs)) < len(study.pairs):
        raise ConfigError(f"pairs of study {study.name!r}: at least one, none twice")
    for teacher, student in study.anchors:
        if (teacher, student) not in study.pairs:
            raise ConfigError(f"anchor {teacher}:{student} of study {study.name!r}: not among the pairs asked for")
    if len(set(study.anchors)) < len(study.anchors):
        raise ConfigError(f"anchors of study {study.name!r}: none twice")
    check_data(study.task, study.data)
    check_task(SCRATCH, study.task.name)
    for name in (*study.teachers, *study.students):
        check_model(name)
    for name, source in study.given_teachers().items():
        if source.tag:
            check_tag(study.task.name if study.teaches() else "", name, source.tag)
    for key, weights in study.initial.items():
        _check_initial(study, key, weights)
    for name, size in study.teacher_sizes.items():
        if name not in study.teachers:
            raise unknown("teacher", name, study.teachers, of=f" of study {study.name!r} with a size of its own")
        for one in (study if study.teaches() else None, study.pretraining):
            if one is not None:
                create_task(one.task, one.data, num_classes=1, teacher_size=size)
    for method in study.methods:
        pretraining = study.pretraining if study.pretrains(method) else None
        check_task(method, (pretraining or study).task.name)
        if method == LONGER and study.pretraining is None:
            raise ConfigError(f"method {LONGER!r}: the control of a pre-training; study {study.name!r} has none")
        method_options(method, {**study.options.get(method, {}), **study.choices.get(method, {})})
    check_recipe_space(study.spaces.get(RECIPE, {}), {name: study.recipe(name) for name in study.used_students()})
    for method, space in study.spaces.items():
        if method == RECIPE:
            continue
        method_options(method, {name: kind.low if isinstance(kind, Log) else kind[0] for name, kind in space.items()})
    for key, corrected in study.corrections.items():
        teacher, colon, student = key.partition(":")
        if not colon or student not in study.students or (teacher and teacher not in study.teachers):
            raise ConfigError(f"corrections of {key!r}: :student or teacher:student of study {study.name!r}")
        for method, options in corrected.items():
            method_options(method, options)
            if teacher and teacherless(method):
                raise ConfigError(f"corrections of {key!r}: method {method!r} takes no teacher, write ':{student}'")


def check_tag(task: str, teacher: str, tag: str) -> None:
    """Raises ConfigError unless timm has such weights for the teacher, and they are of that task (if it has one)."""
    check_pretrained(teacher, tag)
    if task not in ("", CLASSIFICATION):
        begin = f"train it from them (initial = {TIMM}{tag}) or give the file of one"
        raise ConfigError(
            f"teacher {teacher!r}: timm's weights {tag!r} are those of a classifier, not for {task}; {begin}"
        )


def _check_initial(study: Study, key: str, weights: str) -> None:
    """A teacher ("name") or a student (":name") of the study, and weights that timm has for it, or those of a run."""
    colon, name = key[: key.startswith(":")], key.removeprefix(":")
    if colon and name not in study.students:
        raise unknown("student", name, study.students, of=f" of study {study.name!r} with initial weights")
    if not colon and not isinstance(study.teachers.get(name), Recipe):
        hint = f"; for the student write ':{name}'" if name in study.students else ""
        raise ConfigError(f"initial weights for {name!r}: not a teacher that study {study.name!r} trains{hint}")
    if re.fullmatch(f"{RUN}[0-9a-f]{{16}}", weights):
        return
    if not weights.startswith(TIMM):
        raise ConfigError(f"initial weights for {key!r}: {weights!r}, needed are timm:<name.tag> or run:<run_id>")
    check_pretrained(name, weights.removeprefix(TIMM), "student" if colon else "teacher")


def _check_numbers(study: Study) -> None:
    if study.seeds < 1:
        raise ConfigError(f"seeds = {study.seeds}: a positive number")
    if study.anchors and study.search.wave < 2:
        raise ConfigError(f"search.wave = {study.search.wave}: anchors need 2 or more")
    share = study.confirm_validation
    if share is not None and not 0 <= share < 1:
        raise ConfigError(f"confirm_validation = {share}: a share in [0, 1)")
    if study.data.validation == 0:
        raise ConfigError("data.validation = 0: the search needs validation images")
    if study.gpu_share is not None and not 0 < study.gpu_share <= 1:
        raise ConfigError(f"gpu_share = {study.gpu_share}: a share of one GPU in (0, 1]")
    recipes = {**study.teachers, **study.students}
    for recipe in recipes.values():
        if isinstance(recipe, Recipe) and recipe.auto_augment and recipe.views == "batched":
            parse(recipe.auto_augment)
    task = create_task(study.task, study.data, num_classes=1)
    for colon, models in (("", study.teachers), (":", study.students)):
        for name, one in models.items():
            if isinstance(one, Recipe):
                task.check(name, one, study.initial.get(colon + name, ""))
    if study.pretraining is not None:
        study.pretraining.check({name: study.initial.get(f":{name}", "") for name in study.used_students()})
    for method in (SCRATCH, *study.methods):
        workers = study.workers_of(method)
        if workers < 1:
            raise ConfigError(f"workers = {workers}: a positive number")
        for name, recipe in recipes.items():
            if isinstance(recipe, Recipe) and recipe.batch_size % workers:
                raise ConfigError(f"workers = {workers}: the batch of {recipe.batch_size} of {name!r} is not divisible")

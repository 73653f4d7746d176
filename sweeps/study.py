"""A study: data set, recipes, pairs, methods, seeds and search budget; typed, frozen, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pat.config import NUMERICS, ConfigError, Data, Part, Recipe, Task, later, plain
from pat.options import teacherless
from pat.starting import FILE
from sweeps.cell import CLASSIFICATION, SCRATCH, SEARCH_SEED, Cell
from sweeps.checks import check_names, check_numbers, check_tag
from sweeps.pretraining import LONGER, Pretraining
from sweeps.search import Search
from sweeps.settings import RECIPE, recipe_space
from sweeps.spaces import BEFORE, SPACES, Space, read_space, write_space
from sweeps.teacher_file import TIMM, TeacherFile

__all__ = ["CLASSIFICATION", "SCRATCH", "SEARCH_SEED", "TIMM", "Cell", "Search", "Study", "TeacherFile", "check_tag"]


@dataclass(frozen=True)
class Study(Part):
    """Everything that a study computes.

    `teachers`: timm name -> the recipe it is trained with here, or the file it is given as; `NAME@2` is NAME under
    another seed (`sweeps.teacher_seeds`). `students`: timm name ->
    recipe. `initial`: a teacher ("name") or a student (":name") -> the weights that its training starts from,
    `timm:<name.tag>`, a file or URL as `TeacherFile(path, sha256)`, or `run:<run_id>` for the student that another run
    has exported (of a study under the same storage; a teacher of this one is waited for). A student's are those of all
    of its runs, its baselines too.
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
    `seeds` follow the search, for confirmation: so many from 1 on, or those that are listed. `confirm_validation` is
    the validation share of scratch and confirmation runs (None = that of `data`). `threads` per worker and `workers`
    per run (a number, or one for each method, teachers and scratch being "scratch") belong to the study. `gpu_share` of
    one GPU is asked for by a one-worker run where the cluster has GPUs; None: as probes allow. `task`: what is learnt;
    the data set must say what it needs to know of its images. `pretraining`: what precedes the training of the cells of
    `hgkd` and `spark`; their methods' options are those of the pre-training. `exchange`: in so many other cells of its
    method each cell's best setting is confirmed too (`sweeps.planning.exchange`): does a setting travel?
    """

    name: str
    data: Data
    teachers: Mapping[str, Recipe | TeacherFile]
    students: Mapping[str, Recipe]
    pairs: tuple[tuple[str, str], ...]
    methods: tuple[str, ...] = ("kd", "pat")
    search: Search = field(default_factory=Search)
    seeds: int | tuple[int, ...] = 3
    initial: Mapping[str, str | TeacherFile] = field(default_factory=dict)
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
    exchange: int = later(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        own = {
            name: space for name, space in self.spaces.items() if [*space.items()] != [*SPACES.get(name, {}).items()]
        }
        object.__setattr__(self, "spaces", own)
        if SCRATCH in self.methods:
            object.__setattr__(self, "methods", tuple(name for name in self.methods if name != SCRATCH))
        check_names(self)
        check_numbers(self)

    @property
    def confirming(self) -> tuple[int, ...]:
        """The seeds of confirmation."""
        if isinstance(self.seeds, tuple):
            return self.seeds
        return tuple(range(SEARCH_SEED + 1, SEARCH_SEED + 1 + self.seeds))

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

    def starts_from(self, side: str) -> str:
        """What identifies the weights that the training of a teacher ("name") or a student (":name") starts from, as in
        a run's configuration; empty for random ones."""
        given = self.initial.get(side, "")
        return f"{FILE}{given.sha256}" if isinstance(given, TeacherFile) else given

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
                    "initial": {
                        side: given if isinstance(given, str) else TeacherFile.from_dict(given)
                        for side, given in values.get("initial", {}).items()
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

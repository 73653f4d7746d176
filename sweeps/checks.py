"""What a study is checked for when it is made, before any work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pat.config import ConfigError, Recipe, unknown
from pat.methods import check_task, method_options
from pat.models import check_pretrained
from pat.options import teacherless
from pat.resolve import check_model, resolve
from pat.starting import RUN
from pat.tasks import check_data, create_task
from sweeps.cell import CLASSIFICATION, SCRATCH, SEARCH_SEED
from sweeps.pretraining import LONGER
from sweeps.settings import RECIPE, check_recipe_space
from sweeps.spaces import Range, Space
from sweeps.teacher_file import TIMM, TeacherFile
from sweeps.teacher_seeds import model_of, teacher_seed

if TYPE_CHECKING:
    from sweeps.study import Study

MOST_SEEDS = 10_000


def check_names(study: Study) -> None:
    """Models, methods and options exist, and every pair has both sides."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", study.name):
        raise ConfigError(f"study name {study.name[:100]!r}: letters, digits, - and _, at most 100")
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
    for name in study.students:
        _check_trained(name, "student", f":{name}")
    for name, source in study.teachers.items():
        if isinstance(source, Recipe):
            teacher_seed(name)
            _check_trained(model_of(name), "teacher", name)
        else:
            check_model(name)  # a tag says for which statistics of the pixels the file was made
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
    if len(set(study.methods)) < len(study.methods):
        raise ConfigError(f"methods of study {study.name!r} = {study.methods!r}: none twice")
    for method, options in study.options.items():
        method_options(method, options)
    for method, choices in study.choices.items():
        _check_space(choices, method, study.options.get(method, {}))
    check_recipe_space(study.spaces.get(RECIPE, {}), {name: study.recipe(name) for name in study.used_students()})
    for method, space in study.spaces.items():
        if method != RECIPE:
            _check_space(space, method, {})
    for key, corrected in study.corrections.items():
        teacher, colon, student = key.partition(":")
        if not colon or student not in study.students or (teacher and teacher not in study.teachers):
            raise ConfigError(f"corrections of {key!r}: :student or teacher:student of study {study.name!r}")
        for method, options in corrected.items():
            method_options(method, options)
            if teacher and teacherless(method):
                raise ConfigError(f"corrections of {key!r}: method {method!r} takes no teacher, write ':{student}'")


def _check_space(space: Space, method: str, options: Mapping[str, Any]) -> None:
    """Every value of a space is one of its option, and none is there twice."""
    for name, kind in space.items():
        values = (kind.low, kind.high) if isinstance(kind, Range) else kind
        if not values or len(set(values)) < len(values):
            raise ConfigError(f"choices of {name!r} of method {method!r} = {values!r}: at least one value, none twice")
        for value in values:
            method_options(method, {**options, name: value})


def _check_trained(name: str, role: str, key: str) -> None:
    """A model that is trained here has no tag: that would name weights, which `initial` asks for."""
    check_model(name)
    if (found := resolve(name, role)).tag:
        raise ConfigError(
            f"{role} {name!r}: a tag names weights; call it {found.name!r} and say "
            f"initial={{{key.replace(name, found.name)!r}: 'timm:{name}'}}"
        )


def check_tag(task: str, teacher: str, tag: str) -> None:
    """Raises ConfigError unless timm has such weights for the teacher, and they are of that task (if it has one)."""
    check_pretrained(teacher, tag)
    if teacher not in (resolve(tag).name, tag):
        raise ConfigError(f"teacher {teacher!r}: its weights are {TIMM}{tag}, of another tag")
    if task not in ("", CLASSIFICATION):
        begin = f"train it from them (initial = {TIMM}{tag}) or give the file of one"
        raise ConfigError(
            f"teacher {teacher!r}: timm's weights {tag!r} are those of a classifier, not for {task}; {begin}"
        )


def _check_initial(study: Study, key: str, weights: str | TeacherFile) -> None:
    """A teacher ("name") or a student (":name") of the study, and weights that timm has for it, of a run or a file."""
    colon, name = key[: key.startswith(":")], key.removeprefix(":")
    if colon and name not in study.students:
        raise unknown("student", name, study.students, of=f" of study {study.name!r} with initial weights")
    if not colon and not isinstance(study.teachers.get(name), Recipe):
        hint = f"; for the student write ':{name}'" if name in study.students else ""
        raise ConfigError(f"initial weights for {name!r}: not a teacher that study {study.name!r} trains{hint}")
    if isinstance(weights, TeacherFile):
        if weights.tag:
            raise ConfigError(f"initial weights for {key!r}: a tag is no file; write {weights.path!r}")
        return
    if re.fullmatch(f"{RUN}[0-9a-f]{{16}}", weights):
        return
    if not weights.startswith(TIMM):
        needed = "timm:<name.tag>, run:<run_id> or TeacherFile(path, sha256)"
        raise ConfigError(f"initial weights for {key!r}: {weights!r}, needed are {needed}")
    check_pretrained(model_of(name), weights.removeprefix(TIMM), "student" if colon else "teacher")


def check_batches(study: Study, images: int) -> None:
    """Raises ConfigError for a recipe whose batch is larger than the part that is trained on."""
    trained = {name: recipe for name, recipe in study.teachers.items() if isinstance(recipe, Recipe)}
    for name, recipe in {**trained, **study.students}.items():
        check_batch(name, recipe, images)


def check_batch(name: str, recipe: Recipe, images: int) -> None:
    """The same for one model."""
    if recipe.batch_size > images:
        raise ConfigError(
            f"recipe.batch_size = {recipe.batch_size} of {name!r}: {images} images are there to train on; "
            f"--set recipe.batch_size={images} or less"
        )


def check_numbers(study: Study) -> None:
    if not 0 < study.threads <= 1024:
        raise ConfigError(f"threads = {study.threads}: a positive number, at most 1024")
    if isinstance(study.seeds, int) and not 0 < study.seeds <= MOST_SEEDS:
        raise ConfigError(f"seeds = {study.seeds}: a positive number, at most {MOST_SEEDS}, or a list of seeds")
    listed = study.seeds if isinstance(study.seeds, tuple) else (1,)
    if not listed or len(set(listed)) < len(listed) or min(listed) <= SEARCH_SEED:
        raise ConfigError(f"seeds = {study.seeds!r}: at least one, positive, none twice; {SEARCH_SEED} is the search's")
    for method in {} if isinstance(study.workers, int) else study.workers:
        method_options(method)
    if study.anchors and study.search.wave < 2:
        raise ConfigError(f"search.wave = {study.search.wave}: anchors need 2 or more")
    if study.exchange < 0 or (study.exchange and not study.search.trials):
        raise ConfigError(
            f"exchange = {study.exchange}: cells, not negative; 0 without a search, whose settings they try"
        )
    share = study.confirm_validation
    if share is not None and not 0 <= share < 1:
        raise ConfigError(f"confirm_validation = {share}: a share in [0, 1)")
    if study.data.validation == 0:
        raise ConfigError("data.validation = 0: the search needs validation images")
    if study.gpu_share is not None and not 0 < study.gpu_share <= 1:
        raise ConfigError(f"gpu_share = {study.gpu_share}: a share of one GPU in (0, 1]")
    recipes = {**study.teachers, **study.students}
    task = create_task(study.task, study.data, num_classes=1)
    for colon, models in (("", study.teachers), (":", study.students)):
        for name, one in models.items():
            if isinstance(one, Recipe):
                task.check(name, one, study.starts_from(colon + name))
    if study.pretraining is not None:
        study.pretraining.check({name: study.starts_from(f":{name}") for name in study.used_students()})
    for method in (SCRATCH, *study.methods):
        workers = study.workers_of(method)
        if workers < 1:
            raise ConfigError(f"workers = {workers}: a positive number")
        for name, recipe in recipes.items():
            if isinstance(recipe, Recipe) and recipe.batch_size % workers:
                raise ConfigError(f"workers = {workers}: the batch of {recipe.batch_size} of {name!r} is not divisible")

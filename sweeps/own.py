"""A study in one's own file, and changes of a study that a person types: other models, data, fields."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pat.config import ConfigError, Data, Recipe, unknown
from pat.data import own_data
from pat.models import family
from pat.plugins import announce
from pat.resolve import resolve
from sweeps.study import TIMM, Study, TeacherFile
from sweeps.teacher_seeds import further_seed, with_teacher_seeds

PARTS = ("recipe", "data", "search")
"""Whose fields `--set` may change, beside those of the study itself."""


def load_study(place: str) -> Study:
    """The study NAME of FILE.py, which is a `Study` or a function that makes one. Processes of the study import the
    file, too. Raises ConfigError naming the file and what is wrong."""
    file, colon, name = place.rpartition(":")
    path = Path(file).expanduser()
    if not colon or path.suffix != ".py" or not path.is_file():
        raise ConfigError(f"--study {place!r}: FILE.py:NAME, a file that is here and a study in it")
    module = announce(path.stem, str(path.absolute().parent))
    studies = [key for key, value in vars(module).items() if isinstance(value, Study)]
    if not hasattr(module, name):
        raise unknown("study", name, studies, of=f" of {str(path)!r}")
    found = getattr(module, name)
    made = found() if callable(found) else found
    if not isinstance(made, Study):
        raise ConfigError(f"--study {place!r}: {name} is a {type(made).__name__}, a Study is needed")
    return made


def with_pairs(study: Study, pairs: Sequence[tuple[str, str]]) -> Study:
    """The study with these pairs. Models that it does not know are trained as one of its own of the same family is, a
    further seed of a teacher (`NAME@1`) as that teacher is; a tag names the weights to start from."""
    study = with_teacher_seeds(study, 1 + max((further_seed(teacher) for teacher, _ in pairs), default=0))
    teachers, students, initial = dict(study.teachers), dict(study.students), dict(study.initial)
    named = []
    for teacher, student in pairs:
        for given, known in ((teacher, teachers), (student, students)):
            if given in known:
                continue
            found, colon = resolve(given, "teacher" if known is teachers else "student"), ":" * (known is students)
            if found.name not in known:
                known[found.name] = _alike(found.name, known)
            if found.tag and isinstance(known[found.name], Recipe):
                initial[colon + found.name] = f"{TIMM}{found.tag}"
        named.append((_named(teacher, teachers), _named(student, students)))
    anchors = tuple(pair for pair in study.anchors if pair in named)
    return replace(study, pairs=tuple(named), teachers=teachers, students=students, initial=initial, anchors=anchors)


def _named(given: str, known: Mapping[str, Any]) -> str:
    return given if given in known else resolve(given).name


def _alike(name: str, known: Mapping[str, Recipe | TeacherFile]) -> Recipe:
    """The recipe of the first model of the same family, else of any."""
    recipes = {other: recipe for other, recipe in known.items() if isinstance(recipe, Recipe)}
    if not recipes:
        raise ConfigError(f"model {name!r}: the study trains none of this side, so that it has no recipe for it")
    kind = family(name)
    return next((recipe for other, recipe in recipes.items() if family(other) == kind), next(iter(recipes.values())))


def with_data(study: Study, place: str) -> tuple[Study, Path]:
    """The study on a folder of own data, under a name of its own, and the folder in which that folder lies."""
    path = Path(place).expanduser().absolute()
    if not path.is_dir():
        raise ConfigError(f"--data {place!r}: no such folder")
    own = own_data(path, study.data.image_size, study.data.validation)
    data = replace(own, crop_pct=study.data.crop_pct, unreadable=study.data.unreadable)
    return replace(study, data=data, name=f"{study.name}-{_word(path.name)}", confirm_validation=None), path.parent


def with_fields(
    parts: Mapping[str, Any], named: Sequence[tuple[str, str, Any]], texts: Sequence[str]
) -> tuple[dict[str, Any], set[str]]:
    """Parts of a run - "recipe", "data" - with fields that a person typed, and which fields these are: `named` as
    (flag, part.field, value), `texts` as part.field=value. Raises ConfigError naming the flag."""
    given = list(named)
    for text in texts:
        field, equals, value = text.partition("=")
        if not equals or field.strip().partition(".")[0] not in parts:
            raise ConfigError(f"--set {text!r}: {' or '.join(f'{part}.FIELD=VALUE' for part in parts)}")
        given.append((f"--set {text}", field.strip(), _value(value)))
    said: dict[str, str] = {}
    changes: dict[str, dict[str, Any]] = {part: {} for part in parts}
    for flag, field, value in given:
        part, _, name = field.partition(".")
        names = [one.name for one in dataclasses.fields(parts[part]) if one.name not in _IDENTITY]
        if name not in names:
            raise ConfigError(f"{flag}: {unknown('field', name, names, of=f' of {part}')}")
        if field in said:
            raise ConfigError(f"{flag}: {said[field]} says it already")
        said[field], changes[part][name] = flag, value
    try:
        return {part: replace(whole, **changes[part]) for part, whole in parts.items()}, {*said}
    except ConfigError as error:
        flag = next((flag for field, flag in said.items() if str(error).startswith(f"{field} ")), "")
        raise ConfigError(f"{flag}: {error}" if flag else str(error)) from error


_IDENTITY = ("name", "fingerprint")
"""Fields of a data set that say which it is."""


def with_settings(study: Study, given: Sequence[str]) -> Study:
    """The study with `recipe.epochs=3` and the like, of all recipes, under a name that says so."""
    for text in given:
        field, equals, value = text.partition("=")
        part, dot, name = field.strip().rpartition(".")
        if not equals or (part and part not in PARTS):
            raise ConfigError(f"--set {text!r}: FIELD=VALUE, with a field of the study or {', '.join(PARTS)} and a dot")
        try:
            study = _with(study, part, name, _value(value))
        except ConfigError as error:
            raise ConfigError(f"--set {text}: {error}") from error
        study = replace(study, name=f"{study.name}-{_word(f'{name}{value}')}")
    return study


def _with(study: Study, part: str, name: str, value: Any) -> Study:
    kind = {"": Study, "recipe": Recipe, "data": Data, "search": type(study.search)}[part]
    names = [field.name for field in dataclasses.fields(kind)]
    if name not in names:
        raise unknown("field", name, names, of=f" of {part or 'a study'}")
    change = {name: value}
    if part == "recipe":
        changed = [
            {key: replace(one, **change) if isinstance(one, Recipe) else one for key, one in models.items()}
            for models in (study.teachers, study.students)
        ]
        return replace(study, teachers=changed[0], students=changed[1])  # type: ignore[arg-type]
    if part:
        return replace(study, **{part: replace(getattr(study, part), **change)})
    return replace(study, **change)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def _word(text: str) -> str:
    """As part of a study's name."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:30] or "own"

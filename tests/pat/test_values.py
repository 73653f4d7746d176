"""Every field of a configuration and every option of a method: a value is refused in one line where it is given, or it
can be used."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pat import config
from pat.config import ConfigError, Data, Method, Part, Recipe, RunConfig, Teacher
from pat.methods import list_methods, method_options
from pat.options import declared
from pat.tasks import list_tasks
from pat.train import train
from tests import tiny

BAD: list[Any] = [
    None, True, -1, 0, 1, 2, 3.5, -0.5, math.nan, math.inf, -math.inf, 10**30, 2**63, 1e300, "", "x", "nan", b"x",
    (), [], {}, (1,), (1, 1), (0.5, 0.5), ("a", "a"), (math.nan, 1.0), (-1, 3), (3, 1), {"x": 1}, {1: "x"}, object(),
    np.float32(0.5), np.int64(2), np.float64(math.nan), np.array([1.0, 2.0]), torch.tensor(1.0), 1j,
]  # fmt: skip
"""Wrong types, negative, zero, nan, huge, empty, unknown, repeated; and NumPy's numbers, which are numbers."""


def parts() -> list[Part]:
    """One of each part that describes a run."""
    run = tiny.config(method="kd")
    assert run.teacher is not None
    return [run.recipe, run.data, run.teacher, run.method, config.Task(), run]


def one_line(error: ConfigError, name: str) -> None:
    assert "\n" not in str(error) and name in str(error), str(error)
    assert len(str(error)) < 500


def settings_of(part: Part) -> Iterator[tuple[str, Any]]:
    return ((field.name, value) for field in dataclasses.fields(part) for value in BAD)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", parts(), ids=lambda part: type(part).__name__)
def test_every_field_is_refused_or_kept(part: Part) -> None:
    refused = 0
    for name, value in settings_of(part):
        try:
            made = dataclasses.replace(part, **{name: value})  # type: ignore[type-var]
        except ConfigError as error:
            refused += 1
            one_line(error, name if name not in ("name", "options") else "")
            continue
        again = type(part).from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False)))
        assert again == made and hash(again) == hash(made), (name, value)
    assert refused > len(dataclasses.fields(part)) * len(BAD) / 2  # type: ignore[arg-type]


@pytest.mark.parametrize("kind, name", [*(("method", x) for x in list_methods()), *(("task", x) for x in list_tasks())])
def test_every_option_is_refused_or_kept(kind: str, name: str) -> None:
    cls = Method if kind == "method" else config.Task
    for option in declared(kind, name).defaults:
        for value in BAD:
            try:
                made = cls(name, {option: value})
            except ConfigError as error:
                one_line(error, option)
                continue
            again = cls.from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False)))
            assert again == made and isinstance(hash(made), int), (option, value)
            given, default = made.options[option], method_default(kind, name, option)
            if isinstance(default, float | bool | str):
                assert type(given) is type(default), (option, value)


def method_default(kind: str, name: str, option: str) -> Any:
    return method_options(name)[option] if kind == "method" else config.Task(name).options[option]


def test_numbers_are_kept_alike_whatever_gave_them() -> None:
    recipe = Recipe(np.int64(2), 16, np.float32(0.5), crop_scale=[0.5, 1])  # type: ignore[arg-type]
    assert recipe == Recipe(2, 16, 0.5, crop_scale=(0.5, 1.0)) and type(recipe.epochs) is int
    assert RunConfig(tiny.VIT, Data("digits", 32), dataclasses.replace(recipe, weight_decay=0)).run_id == (
        RunConfig(tiny.VIT, Data("digits", 32), recipe).run_id
    )
    assert hash(Teacher("a", "run:x")) == hash(Teacher("a", "run:x"))


RECIPES: dict[str, list[Any]] = {
    "optimizer": ["adam", "nothing", "", "lamb", "sgdp", "adamw_", "fused"],
    "schedule": ["cosine", "step", "multistep", "poly", "tanh", "constant", "plateau"],
    "auto_augment": ["rand-m9", "nothing", "rand-", "augmix-m3", "original", "rand-m9-xyz3", "3"],
    "views": ["timm"],
    "interpolation": ["random", "bilinear", "nearest"],
    "mixup_mode": ["elem"],
    "precision": ["bf16"],
}
"""Words that a recipe could be given, beside BAD."""


def usable(recipe: Recipe) -> bool:
    """Whether a recipe is accepted before any work; if it is, it can be trained with to the end."""
    run = dataclasses.replace(tiny.config(student=tiny.CNN, epochs=1), recipe=recipe)
    task = tiny.task()
    try:
        task.check(run.student, recipe, "")
    except ConfigError as error:
        one_line(error, "recipe.")
        return False
    return train(run, Nowhere()).status in ("finished", "diverged")


class Nowhere:
    """A world without files."""

    rank, world_size, device = 0, 1, torch.device("cpu")

    def report(self, history: list[dict[str, Any]], state: dict[str, Any]) -> None:
        json.dumps([row for row in history if row])

    def load(self) -> None:
        return None

    def asked_to_stop(self) -> bool:
        return False

    def stepped(self, epoch: int, images: int, of: int) -> None:
        pass

    def due(self) -> bool:
        return False

    def keep(self, state: dict[str, Any]) -> None:
        pass

    def export(self, state: dict[str, Any]) -> str:
        return ""


@pytest.mark.slow
def test_what_a_recipe_is_let_have_can_be_trained_with() -> None:
    base = dataclasses.replace(tiny.config(student=tiny.CNN, epochs=1).recipe, batch_size=32)
    accepted = refused = 0
    for field in dataclasses.fields(Recipe):
        for value in [*BAD, *RECIPES.get(field.name, [])]:
            try:
                recipe = dataclasses.replace(base, **{field.name: value})
            except ConfigError:
                refused += 1
                continue
            if recipe != base and field.name != "epochs":
                found = usable(recipe)
                accepted, refused = accepted + found, refused + (not found)
    assert accepted > 40 and refused > 500


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(Recipe)]), st.sampled_from(BAD), max_size=4))
def test_any_few_fields_together(changes: dict[str, Any]) -> None:
    try:
        recipe = dataclasses.replace(tiny.config().recipe, **changes)
    except ConfigError as error:
        one_line(error, "recipe.")
    else:
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe

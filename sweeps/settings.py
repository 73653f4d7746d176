"""A setting of a cell: the options of its method and, where a study searches the recipe, multiples of its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from pat.config import ConfigError, Recipe, unknown
from pat.methods import method_options
from sweeps.spaces import Range, Space

RECIPE = "recipe"
"""What `Study.spaces` calls the recipe's own space."""
_PREFIX = f"{RECIPE}."
_NUMBERS = [field.name for field in fields(Recipe) if field.type == "float"]


def recipe_space(space: Space) -> Space:
    """The recipe's space under the names that its fields have in a setting: `recipe.lr`."""
    return {_PREFIX + field: kind for field, kind in space.items()}


def complete_setting(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a method with `given` over the defaults, and the multiples that are given. ConfigError for an
    unknown method or option."""
    options, multiples = parts(given)
    return {**method_options(method, options), **{_PREFIX + field: value for field, value in multiples.items()}}


def parts(setting: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """The options of the method, and of each of the recipe's fields that is searched its multiple."""
    options = {name: value for name, value in setting.items() if not name.startswith(_PREFIX)}
    multiples = {name.removeprefix(_PREFIX): value for name, value in setting.items() if name.startswith(_PREFIX)}
    return options, multiples


def scaled(recipe: Recipe, multiples: Mapping[str, float]) -> Recipe:
    """The recipe with some of its numbers multiplied."""
    return replace(recipe, **{field: multiple * getattr(recipe, field) for field, multiple in multiples.items()})


def check_recipe_space(space: Space, recipes: Mapping[str, Recipe]) -> None:
    """Raises ConfigError unless each field is a real number of a recipe and in every student's not 0, and its multiples
    are positive and give recipes that can be."""
    for field, kind in space.items():
        if field not in _NUMBERS:
            raise unknown("number", field, _NUMBERS, of=" of a recipe to search")
        values = (kind.low, kind.high) if isinstance(kind, Range) else kind
        if not values or not all(isinstance(value, int | float) and 0 < value < math.inf for value in values):
            raise ConfigError(f"search of recipe.{field} = {values!r}: positive multiples of the student's own value")
        for student, recipe in recipes.items():
            if not getattr(recipe, field):
                raise ConfigError(
                    f"search of recipe.{field}: it is 0 in the recipe of {student!r}, a multiple is no other"
                )
            for value in values:
                scaled(recipe, {field: value})

"""Fields of a recipe for tasks on whole images: they join later, so addresses stay, and what they may say."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pat.config import ConfigError, Recipe, RunConfig
from tests import tiny

PLAIN = tiny.config()
SAID: dict[str, Any] = {"sizes": (640, 800), "scale": (0.1, 2.0), "milestones": (3, 5), "warmup_steps": 1000}


@pytest.mark.parametrize("name", SAID)
def test_a_field_that_joined_later(name: str) -> None:
    recipe = dataclasses.replace(PLAIN.recipe, **{name: SAID[name]})
    said = dataclasses.replace(PLAIN, recipe=recipe)
    assert name not in PLAIN.recipe.to_dict() and recipe.to_dict()[name] == SAID[name]
    assert said.run_id != PLAIN.run_id
    assert RunConfig.from_json(said.to_json()) == said


WRONG: list[tuple[str, Any, str]] = [
    ("sizes", (640, 0), "positive numbers of pixels"),
    ("scale", (0.0, 1.0), "0 < low <= high"),
    ("scale", (1.2, 1.0), "0 < low <= high"),
    ("milestones", (5, 5), "positive numbers, each larger than the one before"),
    ("milestones", (0, 5), "positive numbers, each larger than the one before"),
    ("warmup_steps", -1, "not negative"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG)
def test_what_it_may_not_say(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe(epochs=4, batch_size=2, lr=0.1, **{name: value})
    assert str(caught.value) == f"recipe.{name} = {value!r}: {allowed}"


def test_warm_up_is_said_once() -> None:
    with pytest.raises(ConfigError, match=r"recipe.warmup_steps = 10: 0 where warmup_epochs is set"):
        Recipe(epochs=4, batch_size=2, lr=0.1, warmup_epochs=1, warmup_steps=10)

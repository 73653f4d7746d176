"""Fields of a recipe for tasks on whole images: they join later, so addresses stay, and what they may say."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pat.config import ConfigError, Recipe, RunConfig
from pat.data import load
from pat.io import LocalIO
from pat.training import Training
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


def test_the_rate_of_every_step(tmp_path: Path) -> None:
    """Five steps of warm-up, which end within an epoch of six; two decays, by timm's rule one step before a milestone
    is reached."""
    said = {"schedule": "multistep", "milestones": (2, 3), "decay_rate": 0.1, "warmup_steps": 5, "warmup_lr": 1e-4}
    config = tiny.config(epochs=4, recipe={**said, "lr": 1e-2})
    training = Training(config, LocalIO(tmp_path), load(config.data, tmp_path), None, None)
    assert training.steps_per_epoch == 6
    for step in range(24):
        training.schedule.step_update(step)
        warm = 1e-4 + step * (1e-2 - 1e-4) / 5
        expected = warm if step < 5 else 1e-2 * 0.1 ** sum(step + 1 >= 6 * epoch for epoch in (2, 3))
        assert all(group["lr"] == pytest.approx(expected) for group in training.optimizer.param_groups), step

"""Identity and checking of configurations."""

import dataclasses
import json
from typing import Any

import pytest

from pat.config import ConfigError, Data, Method, Recipe, RunConfig, Teacher
from pat.methods import method_options
from tests import tiny

OTHER: dict[str, Any] = {
    "student": "resnet18",
    "data.name": "cifar10",
    "data.fingerprint": "abc",
    "method.name": "kd",
    "teacher.name": "resnet18",
    "teacher.weights": "sha256:00",
    "initial": "timm:resnet18.a1_in1k",
    "recipe.optimizer": "lion",
    "recipe.schedule": "step",
    "recipe.interpolation": "random",
    "recipe.precision": "bf16",
    "recipe.mixup_mode": "elem",
    "recipe.views": "timm",
    "data.unreadable": "skip",
    "recipe.schedule_per_epoch": True,
}


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def changed(name: str, value: Any) -> Any:
    """Another legal value of the field."""
    if name in OTHER:
        return OTHER[name]
    if isinstance(value, list | tuple):
        return [value[0] * 0.5, value[1]]
    if isinstance(value, str):
        return "current"
    return value / 2 if isinstance(value, float) and value else value + 1 if isinstance(value, int) else 0.25


def test_defaults_written_out_or_left_out_hash_alike() -> None:
    short = tiny.config(method="pat", options={})
    spelled = tiny.config(method="pat", options=method_options("pat"))
    assert short.run_id == spelled.run_id
    assert RunConfig.from_dict(short.to_dict()).run_id == short.run_id
    assert RunConfig.from_json(short.to_json()) == short
    full_recipe = dataclasses.replace(short, recipe=Recipe.from_dict(json.loads(json.dumps(short.recipe.to_dict()))))
    assert full_recipe.run_id == short.run_id
    whole_numbers = tiny.config(method="pat", options={"kd_weight": 1, "temperature": 1})
    assert whole_numbers.run_id == short.run_id


def test_every_field_changes_the_identity() -> None:
    base = tiny.config(method="pat", options={})
    ids = {"": base.run_id}
    for name, value in leaves(base.to_dict()).items():
        if name in ("method.name", "recipe.batch_size", "recipe.epochs", "recipe.warmup_epochs"):
            continue
        values = json.loads(base.to_json())
        part = values
        *path, last = name.split(".")
        for key in path:
            part = part[key]
        part[last] = changed(name, value)
        ids[name] = RunConfig.from_dict(values).run_id
    for name in ("batch_size", "epochs", "warmup_epochs"):
        recipe = dataclasses.replace(base.recipe, **{name: getattr(base.recipe, name) + 1})
        ids[name] = dataclasses.replace(base, recipe=recipe).run_id
    ids["method"] = dataclasses.replace(base, method=Method("kd")).run_id
    assert len(set(ids.values())) == len(ids)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Method("pta"), "unknown method 'pta'; did you mean pat"),
        (lambda: Method("kd", {"temprature": 2}), "'temprature' of method 'kd'; did you mean temperature"),
        (lambda: RunConfig.from_dict({"studnet": "resnet18"}), "'studnet' of RunConfig; did you mean student"),
        (lambda: Recipe(epochs=0, batch_size=1, lr=0.1), "recipe.epochs = 0"),
        (lambda: Recipe(epochs=1, batch_size=1, lr=0.1, precision="fp16"), "fp32 or bf16"),
        (lambda: Data("digits", 32, validation=1.0), "data.validation"),
        (lambda: Teacher("resnet18", "mine.pth"), "run:<run_id> or sha256:<hex>"),
        (lambda: tiny.config(method="kd", teacher=None), "takes one"),
    ],
)
def test_bad_values_are_one_line(build: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build()
    assert "\n" not in str(caught.value)

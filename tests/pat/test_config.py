"""Identity and checking of configurations."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest

from pat import options
from pat.config import ConfigError, Data, Method, Part, Recipe, RunConfig, Teacher, later
from pat.methods import base, method_options
from pat.methods.fitnet import FitNet
from pat.options import Declared, declare, plain
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
    "method.options.variant": "balanced",
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
    if isinstance(value, bool):
        return not value
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


def test_lists_are_tuples_all_the_way_down() -> None:
    """As JSON has lists alone, and what is kept is hashed."""
    assert plain([[1, 2], {"a": [3, [4]]}]) == ((1, 2), {"a": (3, (4,))})


@dataclasses.dataclass(frozen=True)
class LongerRecipe(Recipe):
    """A recipe of some later release."""

    stops: tuple[int, ...] = later(())
    inner: Data = later(Data("digits", 32))
    by_name: Mapping[str, Any] = later(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class LongerRun(RunConfig):
    recipe: LongerRecipe = dataclasses.field(kw_only=True)  # type: ignore[assignment]
    place: str = later("here")


def test_a_field_that_joins_later_leaves_old_identities_alone() -> None:
    old = tiny.config(method="kd")
    values = {**{f.name: getattr(old, f.name) for f in dataclasses.fields(old)}, "recipe": None}
    recipe = LongerRecipe(**dataclasses.asdict(old.recipe))
    run = LongerRun(**{**values, "recipe": recipe})
    assert run.to_json() == old.to_json() and run.run_id == old.run_id
    assert LongerRun.from_json(old.to_json()) == run, "what an old release wrote is read with the default"
    spelled = dataclasses.replace(recipe, stops=(), inner=Data("digits", 32), by_name={})
    assert LongerRun(**{**values, "recipe": spelled, "place": "here"}).run_id == old.run_id


@pytest.mark.parametrize(
    "change",
    [{"place": "there"}, {"stops": (3,)}, {"inner": Data("digits", 16)}, {"by_name": {"a": Data("b", 1)}}],
)
def test_a_field_that_joined_later_counts_where_it_says_something(change: dict[str, Any]) -> None:
    old = tiny.config(method="kd")
    own = {name: value for name, value in change.items() if name != "place"}
    values = {f.name: getattr(old, f.name) for f in dataclasses.fields(old)}
    values["recipe"] = LongerRecipe(**dataclasses.asdict(old.recipe), **own)
    run = LongerRun(**values, **{name: value for name, value in change.items() if name == "place"})
    assert run.run_id != old.run_id
    again = LongerRun.from_json(run.to_json())
    assert again.run_id == run.run_id
    with pytest.raises(ConfigError, match="unknown key"):
        RunConfig.from_json(run.to_json())  # an old release refuses what it does not know


def test_a_part_is_written_through_its_parts() -> None:
    """Not by `dataclasses.asdict`, which knows nothing of fields that joined later."""

    @dataclasses.dataclass(frozen=True)
    class Holder(Part):
        by_name: Mapping[str, Any]
        listed: tuple[Any, ...]

    recipe = LongerRecipe(epochs=1, batch_size=1, lr=0.1)
    found = Holder({"a": recipe}, (recipe, {"b": recipe})).to_dict()
    assert found == {"by_name": {"a": recipe.to_dict()}, "listed": (recipe.to_dict(), {"b": recipe.to_dict()})}
    assert "stops" not in recipe.to_dict() and recipe.to_dict()["crop_scale"] == (1.0, 1.0)


def test_an_option_that_joins_later_leaves_old_identities_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method as its first release had it, then with options that joined; the variant `new` came with them."""
    first = {"weight": 1.0, "form": "plain"}
    old_variants: Mapping[str, Mapping[str, Any]] = {"usual": {}, "wide": {"weight": 2.0}}
    known = {"method": {"kd": Declared(first, variants=old_variants)}, "task": options._declared["task"]}
    monkeypatch.setattr(options, "_declared", known)
    asked: tuple[Mapping[str, Any], ...] = ({}, {"variant": "wide"}, {"weight": 3})
    stored = [tiny.config(method="kd", options=given).to_json() for given in asked]
    addresses = [tiny.config(method="kd", options=given).run_id for given in asked]

    new = {"rate": 1.0, "shape": (1, 2)}
    variants = {**old_variants, "new": {"rate": 0.5}}
    declare("method", "kd", {**first, **new}, variants=variants, later=("rate", "shape", "of another class"))
    for given, text, run_id in zip(asked, stored, addresses, strict=True):
        run = tiny.config(method="kd", options={**given, "rate": 1})
        assert run.run_id == run_id and run.to_json() == text
        assert run.method.options["rate"] == 1.0 and run.method.options["shape"] == (1, 2)
        assert RunConfig.from_json(text) == run, "what an old release wrote is read with the defaults"
        moved = tiny.config(method="kd", options={**given, "rate": 0.5})
        assert moved.run_id != run_id and RunConfig.from_json(moved.to_json()) == moved
    of_variant = [tiny.config(method="kd", options={"variant": "new", **given}) for given in ({}, {"rate": 1.0})]
    for run, rate in zip(of_variant, (0.5, 1.0), strict=True):
        assert run.method.to_dict()["options"]["rate"] == rate, "a variant that says something of it leaves no doubt"
        assert RunConfig.from_json(run.to_json()) == run


def test_later_options_are_those_of_a_class_and_of_its_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_declared", {kind: dict(known) for kind, known in options._declared.items()})
    monkeypatch.setattr(base, "_methods", {})

    class Longer(FitNet):
        later = ("rate",)

        def __init__(self, *models: Any, rate: float = 1.0, weight: float = 1.0) -> None:
            super().__init__(*models, weight=weight)

    class Longest(Longer):
        later = ("stops",)

        def __init__(self, *models: Any, rate: float = 1.0, stops: int = 0) -> None:
            super().__init__(*models, rate=rate)

    for cls in (FitNet, Longer, Longest):
        cls.__module__, before = f"pat.methods.{cls.__name__.lower()}", cls.__module__
        base.register_method(cls)
        cls.__module__ = before
    assert [sorted(options.declared("method", name).later) for name in ("fitnet", "longer", "longest")] == [
        [],
        ["rate"],
        ["rate", "stops"],
    ]
    assert Method("longest", {"stops": 2}).to_dict()["options"] == {"stops": 2}
    assert Method("longest").to_dict()["options"] == {} and Method("longest").options == {"rate": 1.0, "stops": 0}


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

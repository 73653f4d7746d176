"""When two `study.json` describe one study, and their union. On plain JSON values, so that it needs no torch.

A study is identified by its name, data, recipes, numerics and whatever else is not listed here. Pairs, methods, seeds,
trials and the exchange may grow; what is given by name (teachers, students, options, …) may be added to, but not
changed. An entry that one side lacks although it has the model or method that the entry is about says there: the
default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
GROWING = ("pairs", "methods", "seeds", "gpu_share", "exchange")
BY_NAME = ("teachers", "students", "initial", "options", "choices", "spaces", "teacher_sizes")
JOINED: Mapping[str, Any] = {"anchors": [], "search": {"failures": 3}, "spaces": {}}
"""Fields that every program now writes, and what a `study.json` from before them says by not having them."""


def completed(study: Mapping[str, Any]) -> dict[str, Any]:
    """A `study.json` of any release, with what it says by leaving it out."""
    return {
        **study,
        **{
            key: {**value, **study.get(key, {})} if isinstance(value, Mapping) else study.get(key, value)
            for key, value in JOINED.items()
        },
    }


def difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first field in which two studies differ that may not, with both values; None where they are one study."""
    for key in {**first, **second}:
        old, new = (side.get(key, {} if key in BY_NAME else None) for side in (first, second))
        if key in GROWING:
            continue
        if key == "search" and isinstance(old, Mapping) and isinstance(new, Mapping):
            old, new = ({name: side[name] for name in side if name != "trials"} for side in (old, new))
        elif key in BY_NAME and isinstance(old, Mapping) and isinstance(new, Mapping):
            both = [name for name in {**old, **new} if _says(first, key, name) and _says(second, key, name)]
            old, new = ({name: _without_place(side.get(name)) for name in both} for side in (old, new))
        if old != new:
            return _innermost(key, old, new)
    return None


def _says(study: Mapping[str, Any], field: str, name: str) -> bool:
    """Whether a study says something of `name` under `field`, written out or by default. Of the recipe's space each
    does: without one, it is not searched."""
    if (field, name) == ("spaces", "recipe"):
        return True
    about = {"options": "methods", "choices": "methods", "initial": "students" if name[:1] == ":" else "teachers"}
    about["teacher_sizes"] = "teachers"
    return name in study.get(field, ()) or name.removeprefix(":") in study.get(about.get(field, field), ())


def unite(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The union of two studies between which there is no `difference`."""
    return {
        **first,
        **second,
        "pairs": union(first["pairs"], second["pairs"]),
        "methods": union(first["methods"], second["methods"]),
        "gpu_share": second.get("gpu_share") or first.get("gpu_share"),
        "seeds": united_seeds(first["seeds"], second["seeds"]),
        "search": {**second["search"], "trials": max(first["search"]["trials"], second["search"]["trials"])},
        **({"exchange": most} if (most := max(side.get("exchange", 0) for side in (first, second))) else {}),
        **{key: {**first.get(key, {}), **second.get(key, {})} for key in BY_NAME if key in {**first, **second}},
    }


def united_seeds(first: int | Sequence[int], second: int | Sequence[int]) -> int | list[int]:
    """As many as the larger one has, or all that either one lists; a number stands for the seeds from 1 to it."""
    if isinstance(first, int) and isinstance(second, int):
        return max(first, second)
    listed = (range(1, side + 1) if isinstance(side, int) else side for side in (first, second))
    return sorted({seed for side in listed for seed in side})


def union(first: Sequence[Item], second: Sequence[Item]) -> list[Item]:
    """The second's order where it holds all of the first, so that growing a study equals making it whole at once."""
    if all(item in second for item in first):
        return list(second)
    return [*first, *(item for item in second if item not in first)]


def _without_place(value: Any) -> Any:
    """Where a teacher's file lies is no part of the identity, timm's tag is."""
    if isinstance(value, Mapping) and "sha256" in value and not str(value.get("path")).startswith("timm:"):
        return {**value, "path": ""}
    return value


def _innermost(field: str, old: Any, new: Any) -> tuple[str, Any, Any]:
    while isinstance(old, Mapping) and isinstance(new, Mapping):
        key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
        field, old, new = f"{field}.{key}", old.get(key), new.get(key)
    return field, old, new

"""The definition of a study (its study.json) in words and small tables. Anything may be missing from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from analysis.labels import method_label


def study(definition: Mapping[str, Any]) -> dict[str, Any]:
    """`facts`: (name, text) lines; `recipes`: table of the recipes' fields that differ, with what all have in common;
    `pairs`: (teacher, student); `given`: teachers that were not trained here; `json`: the whole file."""
    recipes = {
        f"{role} {name}": value
        for role, key in (("teacher", "teachers"), ("student", "students"))
        for name, value in _mapping(definition.get(key)).items()
        if isinstance(value, Mapping) and "sha256" not in value
    }
    given = {
        name: f"{value.get('path') or 'file'} {value['sha256']}".strip()
        for name, value in _mapping(definition.get("teachers")).items()
        if isinstance(value, Mapping) and "sha256" in value
    }
    text = json.dumps(definition, indent=1, ensure_ascii=False)
    pairs = [tuple(map(str, pair)) for pair in definition.get("pairs") or () if len(pair) == 2]
    return {"facts": _facts(definition), "recipes": _recipes(recipes), "pairs": pairs, "given": given, "json": text}


def _facts(definition: Mapping[str, Any]) -> list[tuple[str, str]]:
    data, search = _mapping(definition.get("data")), _mapping(definition.get("search"))
    facts = [("data", ", ".join([str(data.get("name", "")), *_fields(data, without=("name",))]).strip(", "))]
    if definition.get("methods"):
        names = [method_label(str(name)) for name in definition["methods"]]
        facts.append(("methods", ", ".join(names) + ", and scratch"))
    if definition.get("seeds"):
        facts.append(
            ("seeds", f"{definition['seeds']} for confirmation, that no decision has seen; another one for the search")
        )
    if search.get("trials"):
        rungs = ", ".join(f"{share:.0%}" for share in search.get("rungs") or ())
        waves = f"{search['trials']} settings a cell in waves of {search.get('wave')}"
        halving = f"the best 1/{search.get('eta')} go on after each rung ({rungs} of the epochs)"
        stays = ", which is never pruned" if search.get("keep_default") else ""
        facts.append(("search", f"{waves}; {halving}; the first setting is the default{stays}"))
    elif search:
        facts.append(("search", "none: the default settings alone"))
    for name, space in _mapping(_mapping(definition.get("spaces")).get("recipe")).items():
        ends = [space["low"], space["high"]] if isinstance(space, Mapping) else list(space)
        text = ", ".join(f"{multiple:g}" for multiple in ends)
        facts.append(
            (f"recipe: {name}", f"searched for scratch as for every method, at {text} times the student's own")
        )
    for key in ("options", "choices", "corrections"):
        for name, value in _mapping(definition.get(key)).items():
            facts.append((f"{key} of {name}", ", ".join(_fields(_mapping(value))) or str(value)))
    for name, size in _mapping(definition.get("teacher_sizes")).items():
        facts.append((f"teacher {name} sees images of", f"{size} px"))
    for key in ("confirm_validation", "threads", "workers", "gpu_share", "numerics"):
        if definition.get(key) is not None:
            facts.append((key.replace("_", " "), str(definition[key])))
    for key, tag in _mapping(definition.get("initial")).items():
        role = "student" if key.startswith(":") else "teacher"
        facts.append((f"{role} {key.removeprefix(':')} begins with", str(tag)))
    return [(name, text) for name, text in facts if text]


def _recipes(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Models with equal recipes are one row; fields that all have alike are said once."""
    groups: dict[str, list[str]] = {}
    for name, recipe in recipes.items():
        groups.setdefault(json.dumps(recipe, sort_keys=True), []).append(name)
    different = [json.loads(text) for text in groups]
    fields = list(dict.fromkeys(field for name in recipes for field in recipes[name]))
    same = [field for field in fields if len({json.dumps(recipe.get(field)) for recipe in different}) == 1]
    columns = [field for field in fields if field not in same]
    rows = [
        {"models": models, "values": [_text(recipe.get(field)) for field in columns]}
        for models, recipe in zip(groups.values(), different, strict=True)
    ]
    common = [f"{field} {_text(different[0].get(field))}" for field in same] if different else []
    return {"columns": [field.replace("_", " ") for field in columns], "rows": rows, "common": ", ".join(common)}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _fields(values: Mapping[str, Any], without: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{name} {_text(value)}" for name, value in values.items() if name not in without and value not in ("", None)
    ]


def _text(value: object) -> str:
    if isinstance(value, list):
        return " to ".join(_text(part) for part in value) if len(value) == 2 else ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return json.dumps(value)
    return "–" if value in ("", None) else "yes" if value is True else "no" if value is False else str(value)

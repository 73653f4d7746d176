"""The definition of a study, its study.json: anything may be missing from it, nothing may be of another kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from analysis.schema import LedgerError
from analysis.storage import names, open_folder, read_file

Check = Callable[[Any], bool]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _pairs(value: Any) -> bool:
    return isinstance(value, list) and all(_names(pair) and len(pair) == 2 for pair in value)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_number, value))


def _number_or_numbers(value: Any) -> bool:
    return _number(value) or _numbers(value)


def _number_or_mapping(value: Any) -> bool:
    return _number(value) or _mapping(value)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


_KINDS: Mapping[str, tuple[Check, str]] = {
    "pairs": (_pairs, "a list of [teacher, student]"),
    "methods": (_names, "a list of names"),
    "seeds": (_number_or_numbers, "a number or a list of numbers"),
    "workers": (_number_or_mapping, "a number or an object"),
    **{
        name: (_mapping, "an object")
        for name in ("data", "search", "teachers", "students", "options", "choices", "task")
    },
    "search.trials": (_number, "a number"),
    "search.wave": (_number, "a number"),
    "search.rungs": (_numbers, "a list of numbers"),
}


def below(folder: str | Path) -> str:
    """What is said where a folder was named in the place of a study's: the studies in it. Empty where it holds none."""
    filesystem, root = open_folder(folder)
    found = [name for name in names(filesystem, root) if read_file(folder, f"{name}/study.json") is not None]
    return f"; studies lie in it: {', '.join(f'{folder}/{name}' for name in found)}" if found else ""


def read_definition(folder: str | Path) -> Mapping[str, Any]:
    """What study.json in `folder` says; empty where it does not exist. Raises LedgerError, in one line that names the
    field, for what is no definition of a study."""
    place = f"{folder}/study.json"
    try:
        values = json.loads(read_file(folder, "study.json") or b"{}")
    except ValueError as error:
        raise LedgerError(f"{place}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise LedgerError(f"{place}: not the definition of a study")
    for name, (right, kind) in _KINDS.items():
        outer, _, inner = name.partition(".")
        value = (values.get(outer) or {}).get(inner) if inner else values.get(outer)
        if value is not None and not right(value):
            raise LedgerError(f"{place}: {name} is {str(value)[:60]!r}, not {kind}")
    return values

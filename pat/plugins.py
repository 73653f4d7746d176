"""Methods, tasks, models and data sets that live elsewhere: modules that register them, imported where they are needed.

A package names its modules as entry points of the group `pat`; a study names others, and the processes that train for
it find them in the environment. Importing such a module registers what is in it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from pat.errors import ConfigError
from pat.own_text import edited, file_name, is_beside, texts

GROUP = "pat"
VARIABLE = "PAT_IMPORT"
"""The environment's variable: JSON, pairs of a folder - absolute, or relative to the project's - and a module in it."""
ROOT = Path(__file__).parents[1]


def load_plugins() -> None:
    """Import what entry points and the environment name; at once where that is done.

    An entry point that fails is left out, one line on stderr says so. Raises ConfigError for a module that was named.
    """
    _load_entry_points()
    for folder, name in announced():
        import_own(name, folder)


def announced() -> list[tuple[str, str]]:
    """The folders and names of modules in the environment."""
    return [(folder, name) for folder, name in json.loads(os.environ.get(VARIABLE, "[]"))]


def announce(name: str, folder: str = "") -> ModuleType:
    """Import an own module here, and in the processes that this one starts. Raises ConfigError, also where this process
    has imported another text of it before: the others would import the new one."""
    module = import_own(name, folder)
    if changed := edited(name):
        raise ConfigError(f"{', '.join(changed)}: edited since this Python imported it; start Python anew")
    place = Path(folder).absolute() if folder else None
    if place is not None and place.is_relative_to(ROOT):
        place = place.relative_to(ROOT)
    kept = (str(place) if place is not None else "", name)
    os.environ[VARIABLE] = json.dumps([*(pair for pair in announced() if pair != kept), kept])
    return module


def own_files() -> list[tuple[Path, str]]:
    """The files of the modules in the environment and of what lies beside them and is imported, each with its name
    relative to its folder: what another machine needs of them."""
    named = [sys.modules[name] for folder, name in announced() if folder]
    found = {
        Path(other.__file__).resolve(): file_name(other)
        for other in list(sys.modules.values())
        for module in named
        if is_beside(other, module) and other.__file__
    }
    return sorted(found.items())


def import_own(name: str, folder: str = "") -> ModuleType:
    """A module of a folder, or of where Python looks. ConfigError, one line, where it cannot be imported."""
    place = str((ROOT / folder).resolve()) if folder else ""
    if place and place not in sys.path:
        sys.path.insert(0, place)
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise ConfigError(f"module {name!r} cannot be imported: {failure(error)}") from error
    texts([name])  # as they are now
    file = Path(getattr(module, "__file__", None) or "").resolve()
    if place and not file.is_relative_to(place):
        raise ConfigError(f"module {name!r} of {place!r}: Python has another of this name, {str(file)!r}; rename it")
    return module


def import_siblings(package: str, names: Sequence[str]) -> None:
    """The modules of a package that register something; one that fails is left out, one line on stderr says so."""
    for name in names:
        try:
            importlib.import_module(f"{package}.{name}")
        except Exception as error:
            print(f"{package}.{name} is left out: {failure(error)}", file=sys.stderr)


def failure(error: Exception) -> str:
    """What went wrong, and where, in one line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    words = (str(error).strip().splitlines() or ["no message"])[0]
    return f"{type(error).__name__}: {words} ({Path(last.filename).name}, line {last.lineno})"


@cache
def _load_entry_points() -> None:
    for point in entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:
            print(f"plug-in {point.name!r} ({point.value}) is left out: {failure(error)}", file=sys.stderr)

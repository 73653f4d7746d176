"""What is worked out of a run's shapes alone, each once: it is kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import timm
from timm.models import get_arch_name

from pat.config import RunConfig
from pat.data.cache import cache_file, keep
from pat.methods.base import method_class
from pat.tasks import task_class
from sweeps.version import digest

SAY_EVERY = 3.0
K = TypeVar("K", bound=Hashable)
Work = Callable[[RunConfig, int], Any]


def known(
    name: str, work: Work, runs: Mapping[K, tuple[RunConfig, int]], doing: str, say: Callable[[str], None]
) -> dict[K, Any]:
    """What `work` makes of each run on data of so many classes: JSON values, which are kept under `name`.

    `doing` is said every few seconds, with how far it is. An error of `work` is raised; what was made before is kept.
    """
    file = cache_file(f"{name}.json")
    before, fresh, found, told = _read(file), dict[str, Any](), dict[K, Any](), time.monotonic()
    try:
        for number, (key, (run, classes)) in enumerate(runs.items()):
            if time.monotonic() - told > SAY_EVERY:
                say(f"{doing}: {number} of {len(runs)}")
                told = time.monotonic()
            address = _address(run, classes)
            made = before | fresh
            found[key] = made[address] if address in made else work(run, classes)
            if address not in before and _lasts(run):
                fresh[address] = found[key]
    finally:
        if fresh:
            keep(file, json.dumps({"by": _programs(), "known": before | fresh}).encode())
    return found


def _address(run: RunConfig, classes: int) -> str:
    """By all of a run that shapes depend on, and the numbers that are kept for each parameter."""
    values = {name: part for name, part in run.to_dict().items() if name in ("student", "data", "method", "task")}
    teacher = [run.teacher.name, run.teacher.image_size] if run.teacher else []
    return _digest([values, teacher, run.recipe.optimizer, bool(run.recipe.ema_decay), classes])


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _lasts(run: RunConfig) -> bool:
    """Whether all that shapes depend on is of this package or timm's: a user's own code may be another next time."""
    names = (run.student, *([run.teacher.name] if run.teacher else []))
    made = [timm.model_entrypoint(get_arch_name(name)) for name in names]
    parts = (method_class(run.method.name), task_class(run.task.name), *made)
    return all(part.__module__.partition(".")[0] in ("pat", "timm") for part in parts)


def _programs() -> str:
    """What may make other values of the same run."""
    return _digest([digest(), version("torch"), version("timm")])


def _read(file: Path) -> dict[str, Any]:
    """None where the file cannot be read, is damaged or of other programs."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(file.read_bytes())
        if found["by"] == _programs():
            return dict(found["known"])
    return {}

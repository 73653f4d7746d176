"""By which text of one's own files a run was trained: digests beside its record, against the text of now.

A run's address names its method, models, data and task; what a file of one's own makes of these names is no part of it.
So an edited file trains nothing again by itself: it is said which runs are of another text, and `--retry changed` sets
them aside.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from timm.models import get_arch_name

from analysis import ledger, storage
from analysis.schema import LedgerError
from analysis.words import counted, few
from pat.config import RunConfig
from pat.data.base import loader_of
from pat.methods.base import method_class
from pat.own_text import texts
from pat.tasks import task_class
from sweeps.engine.jobs import run_folder

FILE = "own.json"
"""In a run's folder: of each own file the digests of the texts that trained it, the last one last."""
CHANGED = "changed"


@dataclass(frozen=True)
class Changed:
    """A run that another text has trained: of each file the digests of then, and that of now."""

    run_id: str
    files: Mapping[str, tuple[tuple[str, ...], str]]


def note_texts(folder: Path, run: RunConfig) -> None:
    """Keep in a run's own folder by which text it is trained from now on; nothing where all is this project's own."""
    own = texts(_modules(run))
    if not own:
        return
    before = _kept(folder)
    after = {name: [*(one for one in before.get(name, ()) if one != now), now] for name, now in own.items()}
    if before != {**before, **after}:
        storage.write_file(folder, FILE, (json.dumps({**before, **after}, indent=1) + "\n").encode())


def changed(folder: Path) -> list[Changed]:
    """The runs of a study's folder, ended or not, that another text of a file has trained than this process imported.
    Files that it has not imported are not compared."""
    filesystem, root = storage.open_folder(folder)
    runs = [found.path.split("/")[0] for found in storage.stamped(filesystem, f"{root}/runs") if _is_own(found.path)]
    found = [changed_run(folder, run_id) for run_id in runs]
    return [one for one in found if one is not None]


def changed_run(folder: Path, run_id: str) -> Changed | None:
    """The same of one run; None where it has not changed, or nothing was kept of it."""
    kept = _kept(run_folder(folder, run_id))
    now = texts(name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in kept)
    files = {name: (tuple(kept[name]), now[name]) for name in kept if name in now and kept[name] != [now[name]]}
    return Changed(run_id, files) if files else None


def changed_lines(folder: Path, found: Iterable[Changed], remedy: str = f"--retry {CHANGED}") -> list[str]:
    """A line for each file: how many runs, of which methods, and what to do."""
    found = list(found)
    if not found:
        return []
    rows = ledger.read_runs(folder, columns=("run_id", "method", "status"))
    method = {run_id: name for run_id, name, status in rows.itertuples(index=False) if status != "failed"}
    lines = []
    for name in sorted({name for one in found for name in one.files}):
        runs = [one for one in found if name in one.files]
        methods = few(f"{method[one.run_id]}" for one in runs if one.run_id in method)
        then = few(text for one in runs for text in one.files[name][0] if text != one.files[name][1])
        which = f"{counted(len(runs), 'run')}{methods and f' of {methods}'}"
        are, them = ("is", "it") if len(runs) == 1 else ("are", "them")
        lines.append(
            f"{name} has changed: {which} of another text of it ({then}, now {runs[0].files[name][1]}) {are} kept; "
            f"{remedy} sets {them} aside and trains again"
        )
    return lines


def _is_own(path: str) -> bool:
    return path.endswith(f"/{FILE}") and path.count("/") == 1


def _kept(folder: Path) -> dict[str, list[str]]:
    try:
        return {str(name): list(texts) for name, texts in json.loads(storage.read_file(folder, FILE) or b"{}").items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise LedgerError(f"{folder}/{FILE}: cannot be read as the texts of own files") from error


def _modules(run: RunConfig) -> list[str]:
    """Where a run's method, task, data set and models are defined."""
    models = [run.student, *([run.teacher.name] if run.teacher else [])]
    found: list[Any] = [method_class(run.method.name), task_class(run.task.name), loader_of(run.data)]
    found += [timm.model_entrypoint(get_arch_name(name)) for name in models]
    return [str(one.__module__) for one in found]

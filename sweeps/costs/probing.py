"""Makes the probes that a study lacks, where its runs will be: in this process, or as tasks of a Ray cluster."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pat.config import RunConfig
from pat.plugins import load_plugins
from sweeps.costs.expect import configs
from sweeps.costs.probe import device_name, probe
from sweeps.costs.probe_file import Probe, read_probes, write_probes
from sweeps.engine.records import first_line
from sweeps.planning.units import Key
from sweeps.study import Cell, Study, TeacherFile
from sweeps.teachers import local_file

Say = Callable[[str], None]
LOOK = 0.01
"""The share of a GPU that a look at it takes: it must not wait for a whole one."""


class Kind(NamedTuple):
    """A kind of device: its name, its memory in bytes (0 for CPUs), and its model as Ray names it, where it does."""

    name: str
    memory: int
    model: str = ""


def local_device() -> torch.device:
    """Where a run of this process would be."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def kind_here() -> Kind:
    """That of this process."""
    return Kind(*_look())


def probe_here(study: Study, folder: Path, data_root: Path, say: Say) -> Kind:
    """Probe in this process, one after the other, whatever `folder` has no probe of; returns the kind of device."""
    device, kind = local_device(), kind_here()
    for number, (key, config, count) in enumerate(missing := _missing(study, folder, kind.name), start=1):
        say(f"probing {number} of {len(missing)}: {key}")
        found = probe(config, data_root, _teacher(study, key.cell, folder), device, workers=count, cell=key.cell)
        write_probes(folder, [replace(found, kind=key.kind)])
    return kind


def kinds_on_ray() -> list[Kind]:
    """The kinds of devices of the Ray that is running, that of most machines first. Of machines that offer the same,
    one is asked; CPUs are not asked for where there are GPUs."""
    from sweeps.engine.cluster import machines, ray

    there = machines()
    gpus = any(node.gpus for node in there.values())
    alike: dict[Any, list[str]] = defaultdict(list)
    for name, node in there.items():
        if node.gpus or (node.cpus and not gpus):
            alike[node].append(name)
    ask = ray.remote(num_cpus=0, num_gpus=LOOK if gpus else 0, max_retries=2)(_look)
    where = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    answers = [ask.options(scheduling_strategy=where(names[0], soft=False)).remote() for names in alike.values()]
    counted: Counter[Kind] = Counter()
    for (node, names), (device, memory) in zip(alike.items(), ray.get(answers), strict=True):
        counted[Kind(device, memory, node.model)] += len(names)
    return [kind for kind, _ in counted.most_common()]


def probe_on_ray(study: Study, folder: Path, data_root: Path, say: Say) -> list[Kind]:
    """The same as tasks of the Ray that is running, side by side, each with a whole GPU where there are GPUs, on every
    kind of them; machines whose model Ray does not tell are taken to have the same kind.

    Returns the kinds. A run that cannot be probed is said and left out.
    """
    from sweeps.engine.cluster import MODEL, ray

    kinds, waiting = _kinds_said(say), {}
    for kind in kinds if all(kind.model for kind in kinds) else kinds[:1]:
        place = {"num_gpus": 1, "resources": {MODEL + kind.model: LOOK}} if kind.model else {}
        place = place or {"num_gpus": 1 if kind.memory else 0}
        one = ray.remote(num_cpus=study.threads, max_retries=2, **place)(_probe)
        for key, config, count in _missing(study, folder, kind.name):
            teacher = str(_teacher(study, key.cell, folder) or "")
            waiting[one.remote(config.to_json(), str(data_root), teacher, count, tuple(key.cell))] = key
    total = len(waiting)
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        key = waiting.pop(done)
        try:
            found = ray.get(done)
        except Exception as error:  # its runs will say the same, where it is theirs
            say(f"not probed: {key}: {_reason(error)}")
            continue
        write_probes(folder, [replace(found, kind=key.kind)])
        say(f"probed {total - len(waiting)} of {total}: {key}")
    return kinds


def _kinds_said(say: Say) -> list[Kind]:
    """`kinds_on_ray`; where they cannot be asked for, that is said, and there are none."""
    try:
        return kinds_on_ray()
    except Exception as error:
        say(f"no probes: {_reason(error)}")
        return []


def _reason(error: Exception) -> str:
    """In one line, what a task raised; or why it came to no end, as Ray words it."""
    return first_line(getattr(error, "cause", None) or error)


def _missing(study: Study, folder: Path, kind: str) -> list[tuple[Key, RunConfig, int]]:
    """Units without a probe on this kind of device, their run, and its number of workers."""
    known = read_probes(folder, kind)
    found = configs(study).items()
    return [(key, config, study.workers_of(key.cell.method)) for key, config in found if key not in known]


def _teacher(study: Study, cell: Cell, folder: Path) -> Path | None:
    """The teacher's weights where they are a file that is there; a probe does with random ones."""
    source = study.teachers.get(cell.teacher)
    path = local_file(source, folder) if isinstance(source, TeacherFile) else None
    return path if path is not None and path.exists() else None


def _look() -> tuple[str, int]:
    device = local_device()
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
    return device_name(device), memory


def _probe(config: str, data_root: str, teacher: str, workers: int, cell: tuple[str, str, str]) -> Probe:
    load_plugins()
    file = Path(teacher) if teacher else None
    run = RunConfig.from_json(config)
    return probe(run, Path(data_root), file, local_device(), workers=workers, cell=Cell(*cell))

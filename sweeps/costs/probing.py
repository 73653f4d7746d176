"""Makes the probes that a study lacks, where its runs will be: in this process, or as tasks of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from pat.config import RunConfig
from sweeps.costs.expect import configs
from sweeps.costs.probe import device_name, probe
from sweeps.costs.probe_file import Probe, read_probes, write_probes
from sweeps.engine.records import first_line
from sweeps.planning.units import Key
from sweeps.study import Cell, Study, TeacherFile
from sweeps.teachers import local_file

Say = Callable[[str], None]


def local_device() -> torch.device:
    """Where a run of this process would be."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def probe_here(study: Study, folder: Path, data_root: Path, say: Say) -> str:
    """Probe in this process, one after the other, whatever `folder` has no probe of; returns the kind of device."""
    device = local_device()
    kind = device_name(device)
    for number, (key, config, count) in enumerate(missing := _missing(study, folder, kind), start=1):
        say(f"probing {number} of {len(missing)}: {key}")
        found = probe(config, data_root, _teacher(study, key.cell, folder), device, workers=count, cell=key.cell)
        write_probes(folder, [replace(found, kind=key.kind)])
    return kind


def probe_on_ray(study: Study, folder: Path, data_root: Path, gpus: bool, say: Say) -> tuple[str, int]:
    """The same as tasks of the Ray that is running, side by side, each with a whole GPU where there are GPUs.

    Returns the kind of device and its memory in bytes (0 on CPUs). All machines are taken to have the same kind. What
    cannot be probed is said, and expected from other figures.
    """
    from sweeps.engine.cluster import ray

    remote = ray.remote(num_cpus=study.threads, num_gpus=1 if gpus else 0, max_retries=2)
    try:
        kind, memory = ray.get(remote(_look).remote())
    except Exception as error:
        say(f"no probes: {_reason(error)}")
        return "", 0
    missing = _missing(study, folder, kind)
    one = remote(_probe)
    waiting = {}
    for key, config, count in missing:
        teacher = str(_teacher(study, key.cell, folder) or "")
        waiting[one.remote(config.to_json(), str(data_root), teacher, count, tuple(key.cell))] = key
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        key = waiting.pop(done)
        try:
            found = ray.get(done)
        except Exception as error:  # its runs will say the same, where it is theirs
            say(f"not probed: {key}: {_reason(error)}")
            continue
        write_probes(folder, [replace(found, kind=key.kind)])
        say(f"probed {len(missing) - len(waiting)} of {len(missing)}: {key}")
    return kind, memory


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
    file = Path(teacher) if teacher else None
    run = RunConfig.from_json(config)
    return probe(run, Path(data_root), file, local_device(), workers=workers, cell=Cell(*cell))

"""What a study costs, known before it starts: probes where there are devices, the share of a GPU, a forecast, a yes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from joblib import cpu_count

from pat.config import ConfigError
from pat.precision import slow_bf16
from sweeps.costs.expect import configs, expect
from sweeps.costs.forecast import CONTEXT_BYTES, forecast, gpu_share, needs_confirmation
from sweeps.costs.plan_text import device_word, sources, summary
from sweeps.costs.predicted import remember
from sweeps.costs.probe_file import read_probes
from sweeps.costs.probing import Kind, kind_here, probe_here, probe_on_ray
from sweeps.engine.endings import Unasked
from sweeps.engine.kept import Keep
from sweeps.looking.words import number
from sweeps.planning.planner import Planner
from sweeps.study import Study

Say = Callable[[str], None]


@dataclass(frozen=True)
class Devices:
    """What a study runs on. `device`: its kind by name, empty if none is there; `slots`: runs of one worker at a
    time, each on `share` of a device. `memory`: bytes that a slot's process may fill, 0 if unknown."""

    device: str
    gpus: bool
    slots: int
    share: float
    memory: int = field(default=0, compare=False)


def local_devices(study: Study, folder: Path, data_root: Path, say: Say) -> Devices:
    """This machine, once the study's cells have been probed on it."""
    kind = probe_here(study, folder, data_root, say)
    return _devices(study, folder, [kind], [(cpu_count(), torch.cuda.device_count())])


def cluster_devices(study: Study, folder: Path, data_root: Path, say: Say, probing: bool = True) -> Devices:
    """The machines of the Ray that is running, once the study's cells have been probed there. Without `probing` they
    are CPUs like this one, of which there may be probes."""
    from sweeps.engine.cluster import nodes

    kinds = probe_on_ray(study, folder, data_root, say) if probing else [kind_here()]
    return _devices(study, folder, kinds, [(node.cpus, node.gpus) for node in nodes()])


def _devices(study: Study, folder: Path, kinds: Sequence[Kind], machines: list[tuple[float, float]]) -> Devices:
    """`kinds`: the most frequent first. Where GPUs are shared, their share is one that all kinds have room for."""
    from sweeps.engine.cluster import Node, slots

    gpus = any(count for _, count in machines)
    share = study.gpu_share or 1.0
    if gpus and study.gpu_share is None:
        cpus = min(cpus / count for cpus, count in machines if count)
        shares = [
            gpu_share(map(read_probes(folder, kind.name).get, configs(study)), kind.memory, cpus, study.threads)
            for kind in kinds
        ]
        share = max(shares, default=1.0)
    count = slots([Node(*machine) for machine in machines], study.threads, share)
    memory = int(min(kind.memory for kind in kinds) * share) - CONTEXT_BYTES if gpus and kinds else 0
    if not gpus:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * study.threads // (os.cpu_count() or 1)
    return Devices(kinds[0].name if kinds else "", gpus, count, share, max(0, memory))


def slow_precision(study: Study, devices: Devices) -> str:
    """One line where CPUs are to compute in a precision that they are slow in; else nothing."""
    precisions = {study.recipe(name).precision for name in study.used_students()}
    return "" if devices.gpus or "bf16" not in precisions else slow_bf16("bf16")


def agree(
    planner: Planner,
    folder: Path,
    data_root: Path,
    devices: Devices,
    price: float | None,
    keep: Keep,
    yes: bool,
    say: Say,
    most: int | None = None,
) -> int:
    """Say what is left to be spent, ask above 10 device-hours unless `yes`, and keep the forecast.

    The planner gets the expected times. Returns how many runs may share a process: `most`, by default as many as there
    is room for. Raises ConfigError for a no, Unasked where nobody can be asked.
    """
    where = devices.device, devices.gpus, devices.share, data_root, devices.slots
    expected = expect(planner.scope, folder, *where, most, devices.memory, say)
    planner.speeds = expected.speeds
    planner.resort()
    found = forecast(planner, expected, devices.slots, devices.share)
    say(summary(found, device_word(planner.study, devices.gpus), price, keep))
    if expected.assumed:
        say(sources(found, expected))
    hours = found.total.left
    if needs_confirmation(hours) and not yes:
        _ask(hours)
    remember(folder, planner, found)
    return expected.together


def _ask(hours: float) -> None:
    what = f"this takes about {number(hours)} device-hours"
    if not sys.stdin.isatty():
        raise Unasked(f"{what} and no terminal is there to ask at: --yes starts it, --max-hours or --max-cost too")
    if input(f"{what}; start? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ConfigError("not started; --plan says more, --yes starts without a question")

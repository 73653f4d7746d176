"""Waits for the machines and devices that a study was promised, with a live count and a limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from pat.config import ConfigError
from sweeps.cluster.bootstrap import Cluster
from sweeps.engine.cluster import JOIN_SECONDS, Node, nodes, ray, slots
from sweeps.study import SCRATCH, Study

Say = Callable[[str], None]
MINUTES, LOOK, SAY = 20.0, 1.0, 30.0
"""How long machines are waited for unless it is said otherwise; seconds between two looks and between two lines."""


def wait_for_machines(
    study: Study, cluster: Cluster | None, devices: int | None, minutes: float | None, needs_gpu: bool, say: Say
) -> None:
    """Return once all that was promised is there: `devices` GPUs (on a cluster without GPUs: one-worker runs), or else
    every machine that the cluster starts by itself and room for one run.

    A cluster that rents machines is asked for what is missing. Raises ConfigError, one line with the count, after
    `minutes` (default: 20 where something is promised).
    """
    machines = 1 if devices or cluster is None else cluster.promised
    workers = max(study.workers_of(method) for method in (SCRATCH, *study.methods))
    needed, threads = devices or workers, study.threads
    if minutes is None:
        minutes = MINUTES if devices or cluster else JOIN_SECONDS / 60
    deadline, said, before = time.monotonic() + 60 * minutes, 0.0, ""
    rents = cluster is None or not cluster.hosts
    with _asked_for(needed, needs_gpu or _has_gpus(cluster), threads) if rents else nullcontext():
        while True:
            there = nodes()
            gpus = needs_gpu or _has_gpus(cluster)
            room = _room(there, gpus, threads)
            if len(there) >= machines and room >= needed:
                return
            count = _count(there, machines, room, needed, gpus, threads)
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if count != before or time.monotonic() - said > SAY:
                say(f"  waiting for the cluster: {count}; {left / 60:.0f} min left")
                said, before = time.monotonic(), count
            time.sleep(LOOK)
    raise ConfigError(
        f"after {minutes:g} min: {count}; ray status and the logs monitor.* on the head say why, "
        "--devices N makes do with fewer, --wait MINUTES waits longer"
    )


def growth(cluster: Cluster | None, threads: int, share: float) -> int:
    """How many one-worker runs the cluster could hold at its largest; 0 where it cannot grow."""
    if cluster is None:
        return 0
    return slots([Node(machine.cpus, machine.gpus) for machine in cluster.largest()], threads, share)


def _has_gpus(cluster: Cluster | None) -> bool:
    """Whether the devices of the cluster are GPUs: of those that are there, or that may come."""
    largest = cluster.largest() if cluster else []
    return any(node.gpus for node in nodes()) or any(machine.gpus for machine in largest)


def _room(there: list[Node], gpus: bool, threads: int) -> int:
    """GPUs, or runs of one worker where there are none."""
    return int(sum(node.gpus for node in there)) if gpus else slots(there, threads, 1.0)


def _count(there: list[Node], machines: int, room: int, needed: int, gpus: bool, threads: int) -> str:
    what = "GPUs" if gpus else f"places of {threads} CPU(s)"
    parts = [f"{len(there)} of {machines} machines"] if machines > 1 else []
    return ", ".join([*parts, f"{room} of {needed} {what} are there"])


@contextmanager
def _asked_for(devices: int, gpus: bool, threads: int) -> Iterator[None]:
    """A demand for the time of the block, which the autoscaler meets; it ends with this process at the latest."""
    bundle = {"GPU": 1.0} if gpus else {"CPU": float(threads)}
    group = ray.util.placement_group([bundle] * devices, strategy="PACK")
    try:
        yield
    finally:
        ray.util.remove_placement_group(group)

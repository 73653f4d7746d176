"""Which machines a group of workers is kept off: Ray Train chooses theirs, so it is told before they start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

NODE = "ray.io/node-id"
"""The label that Ray gives every machine."""


class Machine(NamedTuple):
    """A machine of the cluster: its id in Ray, its host name, and how many workers of a group it has room for."""

    node: str
    host: str
    workers: int


def kept_off(values: Mapping[str, Any], machines: Iterable[Machine]) -> dict[str, str]:
    """The label selector for the workers of a `Job`: none on a host that gets no work, or where the run has failed,
    nor on one with a closed device, for a worker cannot be kept off that. Empty where the others have too little room:
    first the run may go where it has failed, then anywhere."""
    known = list(machines)
    closed = {host for host, *_ in values["closed"]}
    for hosts in (closed | {host for host, _ in values["avoid"]}, closed):
        shut = sorted(machine.node for machine in known if machine.host in hosts)
        if shut and sum(machine.workers for machine in known if machine.host not in hosts) >= values["workers"]:
            return {NODE: f"!in({','.join(shut)})"}
    return {}


def living(threads: int, gpus: bool) -> list[Machine]:
    """The machines of the Ray that this process belongs to, with their room for workers of so many CPUs, each with a
    GPU of its own where there are `gpus`."""
    import ray

    found = []
    for node in ray.nodes():
        if node["Alive"]:
            cpus, devices = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
            workers = min(cpus // threads, devices) if gpus else cpus // threads
            found.append(Machine(node["NodeID"], node["NodeManagerHostname"], workers))
    return found

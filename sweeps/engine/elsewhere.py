"""Which machines a group of workers is kept off: Ray Train chooses theirs, so it is told before they start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeps.engine.cluster import Node

NODE = "ray.io/node-id"
"""The label that Ray gives every machine."""


def kept_off(values: Mapping[str, Any], machines: Mapping[str, Node], threads: int, gpus: bool) -> dict[str, str]:
    """The label selector for the workers of a `Job`, of so many CPUs and, where there are `gpus`, a GPU each: none on a
    host that gets no work, or where the run has failed, nor on one with a closed device, for a worker cannot be kept
    off that. Empty where the others have too little room: first the run may go where it has failed, then anywhere.

    `machines`: those of the cluster by their ids in Ray.
    """
    closed = {host for host, *_ in values["closed"]}
    for hosts in (closed | {host for host, _ in values["avoid"]}, closed):
        shut = sorted(name for name, node in machines.items() if node.host in hosts)
        room = sum(_room(node, threads, gpus) for node in machines.values() if node.host not in hosts)
        if shut and room >= values["workers"]:
            return {NODE: f"!in({','.join(shut)})"}
    return {}


def _room(node: Node, threads: int, gpus: bool) -> int:
    workers = int(node.cpus // threads)
    return min(workers, int(node.gpus)) if gpus else workers

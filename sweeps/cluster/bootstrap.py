"""What a cluster's definition says, as `ray up` leaves it on the head: its machines, and what it costs when idle."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from analysis.words import counted

FILE = "ray_bootstrap_config.yaml"
PRICES, DEFINITIONS = "cluster/prices.csv", "cluster"


@dataclass(frozen=True)
class Machine:
    """A kind of machine: the cluster keeps `least` and may have `most`; what one offers where that is known."""

    name: str
    instance: str
    least: int
    most: int
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Cluster:
    """`hosts`: the addresses of a fixed list of machines, empty where machines are rented."""

    name: str
    provider: str
    head: Machine
    workers: tuple[Machine, ...]
    hosts: tuple[str, ...]
    max_workers: int
    idle_minutes: float

    @property
    def promised(self) -> int:
        """How many machines the cluster starts by itself, its head among them."""
        return len(self.hosts) or 1 + sum(machine.least for machine in self.workers)

    def largest(self) -> list[Machine]:
        """Every machine that the cluster may grow to; empty for a fixed list of machines."""
        if self.hosts:
            return []
        workers = [machine for machine in self.workers for _ in range(machine.most)]
        return [self.head, *workers[: self.max_workers]]


def read_cluster(home: Path | None = None) -> Cluster | None:
    """The cluster whose head this machine is, or None for any other machine."""
    path = (home or Path.home()) / FILE
    try:
        return parse(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None


def parse(config: Mapping[str, Any]) -> Cluster:
    """A definition with Ray's defaults filled in. Raises KeyError or the like for what is none."""
    provider = config["provider"]
    common = {
        "name": config["cluster_name"],
        "provider": provider["type"],
        "idle_minutes": float(config.get("idle_timeout_minutes") or 5),
    }
    if provider["type"] == "local":
        hosts = (provider["head_ip"], *provider.get("worker_ips", ()))
        most = config.get("max_workers")
        most = len(hosts) - 1 if most is None else most
        return Cluster(**common, head=Machine("head", "", 1, 1, 0, 0), workers=(), hosts=hosts, max_workers=most)
    kinds = {name: _machine(name, kind) for name, kind in config["available_node_types"].items()}
    head = kinds.pop(config["head_node_type"])
    return Cluster(
        **common, head=head, workers=tuple(kinds.values()), hosts=(), max_workers=int(config.get("max_workers") or 2)
    )


def _machine(name: str, kind: Mapping[str, Any]) -> Machine:
    node, resources = kind.get("node_config") or {}, kind.get("resources") or {}
    instance = str(node.get("InstanceType") or node.get("machineType") or "").rpartition("/")[2]
    least, most = int(kind.get("min_workers") or 0), int(kind.get("max_workers") or 0)
    return Machine(name, instance, least, most, float(resources.get("CPU", 0)), float(resources.get("GPU", 0)))


def farewell(cluster: Cluster, root: Path) -> str:
    """The line that ends a study: which cluster still runs, what that costs, and the command that ends it.

    `root`: the folder of the project, where definitions and prices are.
    """
    file = definition(cluster.name, root)
    end = f"bring results home: python -m sweeps pull {file} DIR; end it: ray down {file}"
    if cluster.hosts:
        return f"cluster {cluster.name} still runs Ray on its own machines, at no price but power; {end}"
    kept = [cluster.head, *(machine for machine in cluster.workers for _ in range(machine.least))]
    prices = _prices(root)
    known = [prices.get(machine.instance) for machine in kept]
    what = f"{counted(len(kept), 'machine')} ({', '.join(m.instance or m.name for m in kept)})"
    cost = "at a price that is not known here"
    if all(price is not None for price in known):
        cost = f"for about ${sum(price or 0 for price in known):.2f} an hour"
    more = f", others end after {cluster.idle_minutes:.0f} idle minutes"
    return f"cluster {cluster.name} still runs: idle it keeps {what} {cost}{more}; {end}"


def _prices(root: Path) -> dict[str, float]:
    try:
        with (root / PRICES).open() as file:
            rows = [row for row in csv.DictReader(file) if row["market"] == "on-demand"]
    except OSError:
        return {}
    return {row["type"]: float(row["usd_per_hour"]) for row in rows}


def definition(name: str, root: Path) -> str:
    """The file that defines the cluster of this name, as one types it in the project's folder."""
    for path in sorted((root / DEFINITIONS).glob("*.yaml")):
        try:
            if yaml.safe_load(path.read_text()).get("cluster_name") == name:
                return f"{DEFINITIONS}/{path.name}"
        except (yaml.YAMLError, AttributeError):
            continue
    return "CLUSTER.yaml"

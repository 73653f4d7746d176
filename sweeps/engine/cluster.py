"""Which Ray a study runs on, and whether its runs fit there."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # of a cluster that is joined; its own Ray has a token: `sweeps.started`
    "RAY_raylet_start_wait_time_s": "240",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # Tune runs every segment in a new thread, and glibc gives each of 16 threads a heap that it never returns.
    "MALLOC_ARENA_MAX": "2",
}
for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402  (reads the variables above when it is imported)
from joblib import cpu_count  # noqa: E402

from pat.config import ConfigError  # noqa: E402
from pat.plugins import VARIABLE, announced, own_files  # noqa: E402
from sweeps.engine.leftovers import record, sweep  # noqa: E402
from sweeps.started import in_job  # noqa: E402
from sweeps.version import PACKAGES, ROOT  # noqa: E402

logging.getLogger("ray.tune").setLevel(logging.ERROR)  # Tune misses the files of the loggers that are off
OBJECT_STORE_BYTES = 128 * 1024**2
MODEL = "accelerator_type:"
"""What the resource begins with by which Ray tells the model of a machine's GPUs."""
SLOW = "a busy machine may be too slow for it: give the same command again; --verbose shows what Ray says"
JOIN_SECONDS = 45
"""How long a study waits for a cluster on which a run would fit, before it says that none does."""


@dataclass(frozen=True)
class Node:
    """The devices of one machine of the cluster. `model`: of its GPUs, as Ray names it; empty where it does not.
    `host`: its name in the network, empty where that is not asked for."""

    cpus: float
    gpus: float
    model: str = ""
    host: str = ""


def own_python() -> dict[str, str]:
    """What a Ray of this machine must be told of this Python, as a part of its runtime environment: Ray hands the path
    to a shell, and with a blank in it no process would ever start."""
    quoted = shlex.quote(sys.executable)
    return {} if quoted == sys.executable else {"py_executable": quoted}


@contextmanager
def _shipped(where: str) -> Iterator[dict[str, Any]]:
    """For the time of Ray's start, what ships this code to every machine of `where`; a job has been shipped already.

    As a working directory: with any other form Ray puts this process' own folders first, and on another machine these
    may hold an older copy.
    """
    if where == "local" or in_job():  # own modules: the one hands its environment on, the other's lie in its folder
        own: dict[str, Any] = {"env_vars": {VARIABLE: os.environ[VARIABLE]}} if in_job() and announced() else {}
        if where == "local":
            own |= own_python()
        yield {"runtime_env": own} if own else {}
        return
    with TemporaryDirectory(prefix="sweeps-code-") as place:
        for package in PACKAGES:
            shutil.copytree(ROOT / package, Path(place, package), ignore=shutil.ignore_patterns("__pycache__"))
        for file, name in own_files():
            Path(place, name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, Path(place, name))
        names = json.dumps([("", name) for _, name in announced()])
        yield {"runtime_env": {"working_dir": place, "env_vars": {VARIABLE: names}}}


@contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    """What Ray logs while it starts, tracebacks too, is shown where `verbose`; an error that ends it is told anyway."""
    before = logging.root.manager.disable
    if not verbose:
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def ray_running(where: str, verbose: bool = False) -> Iterator[None]:
    """Ray for the time of the block; a Ray that already runs in this process is used and left running.

    Raises ConfigError if the cluster at `where` cannot be reached.
    """
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": verbose, "configure_logging": verbose}
    if where == "local":
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        options |= {"num_cpus": cpu_count()}  # Ray would offer those that this process may not use, too
    if verbose:
        options.pop("configure_logging")
    sweep()
    try:
        with _shipped(where) as code, _quiet(verbose):
            context = ray.init(address=where, **options, **code)
    except Exception as error:  # Ray raises bare Exceptions too, for instance where it was too slow to start
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        remedy = SLOW if where == "local" else "is it up? `ray status` there says more"
        raise ConfigError(f"Ray does not start or answer at {where!r}: {reason}; {remedy}") from error
    if where == "local":
        record(Path(context.address_info["session_dir"]))
    try:
        yield
    finally:
        ray.shutdown()


def nodes() -> list[Node]:
    """The living machines of the cluster."""
    return list(machines().values())


def machines() -> dict[str, Node]:
    """The same by their ids."""
    return {
        node["NodeID"]: _node(node["Resources"], node["NodeManagerHostname"]) for node in ray.nodes() if node["Alive"]
    }


def _node(resources: Mapping[str, float], host: str) -> Node:
    model = next(filter(None, map(_model, resources)), "")
    return Node(resources.get("CPU", 0.0), resources.get("GPU", 0.0), model, host)


def _model(resource: str) -> str:
    return resource.removeprefix(MODEL) if resource.startswith(MODEL) else ""


def slots(cluster: list[Node], threads: int, gpu_share: float) -> int:
    """How many one-worker runs of `threads` CPUs fit at once, with a share of a GPU each where there are GPUs."""
    gpus = any(node.gpus for node in cluster)
    per_gpu = int(1 / gpu_share + 1e-9)
    return sum(
        min(int(node.cpus // threads), int(node.gpus) * per_gpu if gpus else int(node.cpus // threads))
        for node in cluster
    )


def places(threads: int, gpus: bool) -> tuple[int, int]:
    """How many machines have room for a run, and their devices: GPUs, else the machines themselves."""
    found = [node for node in nodes() if node.cpus >= threads and (node.gpus or not gpus)]
    return max(1, len(found)), max(1, int(sum(node.gpus for node in found)) if gpus else len(found))


def room(workers: int, threads: int, gpu_share: float) -> int:
    """The number of slots. Raises ConfigError, one line, where a run would wait for ever."""
    cluster = nodes()
    count = slots(cluster, threads, gpu_share)
    if count >= workers:
        return count
    cpus, gpus = sum(node.cpus for node in cluster), sum(node.gpus for node in cluster)
    raise ConfigError(
        f"a run needs {workers} worker(s) of {threads} CPU(s) each, the cluster has {cpus:.0f} CPU(s)"
        f" and {gpus:.0f} GPU(s) on {len(cluster)} machine(s)"
    )


def preempted(error: str) -> bool:
    """Whether a process was lost with its machine, which is no fault of what ran in it; `error` as Ray words it."""
    return any(words in error for words in ("node has died", "node died", "NodeDiedError", "preempted"))


def why_lost(error: str) -> str:
    """What happened to a lost process, in a few words, from what Ray says at length."""
    if preempted(error):
        return "its machine is gone"
    if any(words in error for words in ("running low on memory", "memory monitor", "OutOfMemoryError")):
        return "killed because its machine ran out of memory"
    _, _, detail = error.partition("Worker exit detail: ")
    lines = (detail or error).strip().splitlines()
    return (lines[0].partition(". ")[0] if detail else lines[-1].strip()) if lines else "its process is gone"

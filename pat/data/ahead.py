"""Work done ahead of its use, in other processes."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from multiprocessing.context import BaseContext
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from joblib import cpu_count
from torch.utils.data import DataLoader, Dataset

from pat.config import ConfigError
from pat.sockets import room_for_sockets

MOST_WORKERS = 8
DEVICES = Path("/proc/driver/nvidia/gpus")
"""All GPUs of the machine, whichever of them this process sees."""
SHARED = "/dev/shm"
PLENTY = 4 << 30
"""Bytes of shared memory that any batches ahead have room in."""
_HELD, _SHARE = 3, 0.5
"""Things that a worker has there at a time, two ahead and the one in use; and the share of what is free for them."""


def default_workers() -> int:
    """As many processes as this one may use cores; on a machine with GPUs its equal part of them, as each GPU has a
    training that takes more images than 8 cores decode; without GPUs at most 8, for there are other trainings, too."""
    gpus = sum(1 for _ in DEVICES.glob("*"))
    return max(1, cpu_count() // gpus) if gpus else min(MOST_WORKERS, cpu_count())


def ahead(make: Callable[[int], Any], count: int, workers: int, pin: bool = False) -> Iterator[Any]:
    """make(0), make(1), … make(count - 1) in this order, each made by one of `workers` processes, two ahead for each.

    With no worker they are made here, when asked for. `make` is pickled once for each worker and should keep large
    things in tensors, which are shared and not copied. `pin`: tensors arrive in pinned memory. A ConfigError of
    `make` is raised here.
    """
    workers = _with_room(make, min(workers, count))
    if workers == 0:
        yield from map(make, range(count))
        return
    loader = DataLoader(
        _Made(make, count),
        batch_size=None,
        num_workers=workers,
        pin_memory=pin,
        multiprocessing_context=_context(),
        generator=torch.Generator(),  # else every pass would draw from torch's own
    )
    for made in loader:
        if isinstance(made, ConfigError):
            raise made
        yield made


def _with_room(make: Callable[[int], Any], workers: int) -> int:
    """As many of the workers as the shared memory has room for: what they make goes through it, and without room the
    process is killed. Where it is not plentiful the first thing is made to see how large it is."""
    free = shared_memory()
    if not workers or free is None or free >= PLENTY:
        return workers
    size = len(pickle.dumps(make(0)))
    fit = min(workers, int(free * _SHARE / (_HELD * size)))
    if fit < workers:
        remedy = "a container gets more by --shm-size=4g"
        _say(f"{SHARED} has {free / 1e6:.0f} MB free: {fit or 'no'} of {workers} processes decode images ({remedy})")
    return fit


def shared_memory() -> int | None:
    """The free bytes of the shared memory; None where there is no such folder."""
    try:
        return shutil.disk_usage(SHARED).free
    except OSError:
        return None


@lru_cache(maxsize=16)
def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Made(Dataset[Any]):
    """What `make` makes, as the DataLoader wants it; errors are handed over whole, or it would add its traceback."""

    def __init__(self, make: Callable[[int], Any], count: int) -> None:
        self.make, self.count = make, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, step: int) -> Any:
        try:
            return self.make(step)
        except ConfigError as error:
            return error


def _context() -> BaseContext:
    """Processes are forked from a server that has no threads.

    Forking this process would copy whatever locks the threads of Ray, gRPC, CUDA or OpenMP hold at that moment. The
    server starts once, in seconds. It has imported what the workers need: `pat.views`, and what the main script
    imports, since Python runs that script (as another module than `__main__`) in each of them.
    """
    room_for_sockets()
    script = vars(sys.modules["__main__"]).values()
    imported = {x.__name__ if isinstance(x, ModuleType) else getattr(x, "__module__", None) for x in script}
    names = sorted(name for name in imported if isinstance(name, str) and name != "__main__")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pat.views", *names])
    return context

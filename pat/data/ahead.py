"""Work done ahead of its use, in other processes."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from multiprocessing.context import BaseContext
from types import ModuleType
from typing import Any

import torch
from joblib import cpu_count
from torch.utils.data import DataLoader, Dataset

from pat.config import ConfigError
from pat.sockets import room_for_sockets

MOST_WORKERS = 8


def default_workers() -> int:
    """As many processes as this one may use cores, but at most 8: a node mostly has several trainings."""
    return min(MOST_WORKERS, cpu_count())


def ahead(make: Callable[[int], Any], count: int, workers: int, pin: bool = False) -> Iterator[Any]:
    """make(0), make(1), … make(count - 1) in this order, each made by one of `workers` processes, two ahead for each.

    With no worker they are made here, when asked for. `make` is pickled once for each worker and should keep large
    things in tensors, which are shared and not copied. `pin`: tensors arrive in pinned memory. A ConfigError of
    `make` is raised here.
    """
    workers = min(workers, count)
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

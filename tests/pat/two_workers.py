"""Two workers of a run as threads of one process: what they exchange goes through here, and starts no process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import torch.distributed as dist
import torch.distributed.nn.functional as dist_nn
from torch import Tensor

T = TypeVar("T")


class _Pair:
    """Hands each of two threads what both have brought."""

    def __init__(self) -> None:
        self._met, self._own = threading.Barrier(2, timeout=60), threading.local()
        self._brought: list[Any] = [None, None]

    def be(self, rank: int) -> None:
        self._own.rank = rank

    def rank(self) -> int:
        return int(self._own.rank)

    def all_reduce(self, value: Tensor) -> None:
        value.copy_(self.sum(value))

    def sum(self, value: Tensor) -> Tensor:
        one, other = self._exchange(value.clone())
        return one + other

    def all_gather_object(self, parts: list[Any], own: Any) -> None:
        parts[:] = self._exchange(own)

    def _exchange(self, own: Any) -> list[Any]:
        self._brought[self._own.rank] = own
        self._met.wait()
        both = list(self._brought)
        self._met.wait()
        return both


def of_two_workers(work: Callable[[int], T], monkeypatch: pytest.MonkeyPatch) -> list[T]:
    """What `work` gives for each of the ranks 0 and 1, which share no model."""
    pair = _Pair()

    def one(rank: int) -> T:
        pair.be(rank)
        return work(rank)

    with monkeypatch.context() as patch:
        patch.setattr(dist, "is_initialized", lambda: True)
        patch.setattr(dist, "get_world_size", lambda: 2)
        patch.setattr(dist, "get_rank", pair.rank)
        patch.setattr(dist, "all_reduce", pair.all_reduce)
        patch.setattr(dist_nn, "all_reduce", pair.sum)
        patch.setattr(dist, "all_gather_object", pair.all_gather_object)
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(one, range(2)))

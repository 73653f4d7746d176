"""The `io` of a Ray Train worker; the only file of pat that imports ray."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
import torch.distributed as dist

from pat.io import Files, LocalIO


class TrainWorkerIO(LocalIO):
    """One of several workers that share the folder of a run: rank 0 writes, all read."""

    def __init__(
        self,
        folder: Path,
        on_epoch: Callable[[list[dict[str, Any]]], None] | None = None,
        stop: Callable[[], bool] | None = None,
        files: Files | None = None,
    ) -> None:
        super().__init__(folder, on_epoch, stop, files, device=ray.train.torch.get_device())
        context = ray.train.get_context()
        self.rank, self.world_size = context.get_world_rank(), context.get_world_size()

    def load(self) -> dict[str, Any] | None:
        """Raises OSError where a mounted disk shows another checkpoint to one worker than to rank 0."""
        state = super().load()
        place = (-1, 0) if state is None else (state["epoch"], state.get("step", 0))
        own = torch.tensor(place, device=self.device)
        first = own.clone()
        dist.broadcast(first, src=0)
        agreed = (own == first).all().int()
        dist.all_reduce(agreed, dist.ReduceOp.MIN)
        if not agreed:
            raise OSError(errno.ESTALE, f"the workers see different checkpoints in {str(self.folder)!r}")
        return state

    def report(self, history: list[dict[str, Any]], state: dict[str, Any]) -> None:
        super().report(history, state)
        ray.train.report({"epochs": history[-1]["epoch"], **history[-1]})

    def due(self) -> bool:
        return self._as_rank_0(super().due())

    def asked_to_stop(self) -> bool:
        return self._as_rank_0(self.rank == 0 and super().asked_to_stop())

    def _as_rank_0(self, own: bool) -> bool:
        """Rank 0 asks, and all do as it was told."""
        answer = torch.tensor(float(own), device=self.device)
        dist.broadcast(answer, src=0)
        return bool(answer)

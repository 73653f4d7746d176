"""The `io` of a Ray Train worker; the only file of pat that imports ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch

from pat.io import LocalIO


class TrainWorkerIO(LocalIO):
    """One of several workers that share the folder of a run: rank 0 writes, all read."""

    def __init__(self, folder: Path, on_epoch: Callable[[list[dict[str, Any]]], None] | None = None) -> None:
        super().__init__(folder, on_epoch, device=ray.train.torch.get_device())
        context = ray.train.get_context()
        self.rank, self.world_size = context.get_world_rank(), context.get_world_size()

    def report(self, history: list[dict[str, Any]], state: dict[str, Any]) -> None:
        super().report(history, state)
        ray.train.report({"epoch": history[-1]["epoch"]})

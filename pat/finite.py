"""Whether the losses of a run are still numbers, looked at without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

EVERY = 50
"""Steps from one look to the next. On a GPU a look is answered with the one after it, so within a hundred."""


class Watch:
    """Looks at the losses of one epoch. Workers look together, so that all of them stop or none does."""

    def __init__(self, world: int) -> None:
        self._world = world
        self._asked: tuple[Tensor, Any] | None = None

    def lost(self, losses: Sequence[dict[str, Tensor]]) -> bool:
        """Called after each step with the losses of the epoch so far: whether one is known to be no number."""
        if not losses or len(losses) % EVERY:
            return False
        fine = torch.stack([parts["loss"] for parts in losses[-EVERY:]]).isfinite().all()
        if self._world > 1:
            fine = fine.to(torch.uint8)
            dist.all_reduce(fine, dist.ReduceOp.MIN)
        if fine.device.type != "cuda":
            return not fine
        before, self._asked = self._asked, _on_its_way(fine)
        if before is None:
            return False
        answer, arrived = before
        arrived.synchronize()
        return not answer


def _on_its_way(fine: Tensor) -> tuple[Tensor, Any]:
    """The answer in memory of the host, once that is there."""
    answer = torch.empty((), dtype=fine.dtype, pin_memory=True)
    answer.copy_(fine, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return answer, arrived

"""The global batch: what every worker of a run holds, joined in the order of the ranks."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_nn
from torch import Tensor


def is_alone() -> bool:
    """Whether this worker's batch is the global one."""
    return not dist.is_initialized() or dist.get_world_size() == 1


def gather_batch(rows: Tensor) -> Tensor:
    """Rows [B, …] of all workers, [world * B, …], with gradients to the worker that they come from; on any backend.

    A loss of the global batch that every worker computes from them has, after DDP's averaging, the gradient that one
    worker with the whole batch has.
    """
    if is_alone():
        return rows
    world, rank = dist.get_world_size(), dist.get_rank()
    # A sum with zeros is exact, and all_reduce is the one collective whose gradient every backend has.
    return dist_nn.all_reduce(torch.cat([rows if r == rank else torch.zeros_like(rows) for r in range(world)]))


def share_of(count: Tensor) -> Tensor | None:
    """This worker's number of samples over the workers' mean number, None where it works alone.

    A mean over its samples times this, averaged over the workers (as DDP averages gradients), is the mean over all.
    """
    if is_alone():
        return None
    count = count.detach().float()
    return count / global_mean(count).clamp(min=torch.finfo(count.dtype).tiny)


def global_mean(value: Tensor) -> Tensor:
    """The mean of one number over the workers, without gradient."""
    value = value.detach().clone()
    if not is_alone():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value

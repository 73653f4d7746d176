"""In which order an epoch goes through its images."""

from __future__ import annotations

from torch import Tensor

from pat.counter import permutation

_ORDER = 0x6F72646572


def epoch_batches(images: int, batch_size: int, seed: int, epoch: int) -> Tensor:
    """Indices [steps, batch_size] of one epoch: a permutation by (seed, epoch), the last short batch left out."""
    steps = images // batch_size
    return permutation(images, seed, _ORDER, epoch)[: steps * batch_size].view(steps, batch_size)

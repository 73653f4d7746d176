"""Which images make up the batches of an epoch."""

from __future__ import annotations

import torch
from torch import Tensor

from pat.counter import permutation

ORDER = 0x6F72646572
"""The key of every epoch's order, whatever is learnt."""


def epoch_batches(images: int, batch_size: int, seed: int, epoch: int) -> Tensor:
    """Indices [steps, batch_size] of one epoch: a permutation by (seed, epoch), the last short batch left out."""
    steps = images // batch_size
    return permutation(images, seed, ORDER, epoch)[: steps * batch_size].view(steps, batch_size)


def aspect_batches(sizes: Tensor, batch_size: int, seed: int, epoch: int) -> Tensor:
    """Indices [steps, B] of one epoch, N // B steps: images as wide as high or wider, or higher ones, in a batch.

    So little of a canvas is padding. `sizes` int64 [N, 2] (height, width). The epoch's permutation by (seed, epoch)
    is gone through, and a batch is ready when it has enough of its kind (detectron2's AspectRatioGroupedDataset). What
    is left over of both kinds makes a last batch where it is enough for one.
    """
    order = permutation(len(sizes), seed, ORDER, epoch)
    height, width = sizes[order].unbind(1)
    kinds = [torch.nonzero(kind).flatten() for kind in (width >= height, width < height)]  # places in the order
    whole = [places[: len(places) // batch_size * batch_size].view(-1, batch_size) for places in kinds]
    ready = torch.cat(whole)
    ready = ready[ready[:, -1].argsort()]
    left = torch.cat([places[batch.numel() :] for places, batch in zip(kinds, whole, strict=True)]).sort().values
    if len(left) >= batch_size:
        ready = torch.cat([ready, left[None, :batch_size]])
    return order[ready]

"""One step's batch: which part of it a worker sees, who is mixed with whom, and what comes out."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

Normalise = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, for pixels in [0, 1]."""


class Views(NamedTuple):
    """One step of a worker: indices [b], images float32 [b, 3, H, W] normalised, channels last, and their targets.

    These are shares of the classes [b, C], `BoxTargets` or `MaskTargets`, as the task has it.
    """

    indices: Tensor
    images: Tensor
    targets: Any


class Share(NamedTuple):
    """A worker's part of each global batch: places `first` … `last`, of which it trains on `start` … `stop`.

    When samples are mixed, places 2i and 2i + 1 are partners. In a shuffled batch this is as good a pairing as timm's
    with the reversed batch, and both nearly always lie in one worker's slice: only the end of a slice of odd length
    needs one image more. The last of an odd batch is mixed with itself.
    """

    first: int
    start: int
    stop: int
    last: int

    @classmethod
    def of(cls, batch_size: int, rank: int, world: int, mixes: bool) -> Share:
        start, stop = (batch_size // world * edge for edge in (rank, rank + 1))
        if not mixes:
            return cls(start, start, stop, stop)
        return cls(start - start % 2, start, stop, min(stop + stop % 2, batch_size))

    @property
    def own(self) -> slice:
        """Its samples among the images from `first` to `last`."""
        return slice(self.start - self.first, self.stop - self.first)

    def partners(self) -> Tensor:
        """The partner of each place from `first` to `last`, counted from `first`: int64."""
        return (torch.arange(self.last - self.first) ^ 1).clamp(max=self.last - self.first - 1)


def levels(images: Tensor) -> Tensor:
    """uint8 levels as float32 in [0, 1]."""
    return images.float().div_(255)


def columns(normalise: Normalise, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [3, 1, 1]."""
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in normalise)
    return mean, std


def normalised(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 [B, 3, S, S] as the float32 input of a model."""
    return levels(images).sub_(mean).div_(std)


def smooth_targets(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """One-hot rows [B, C] with the share `smoothing` spread over all classes."""
    one_hot = torch.nn.functional.one_hot(labels, num_classes).float()
    return one_hot * (1 - smoothing) + smoothing / num_classes

"""How far a method's training is, as the method itself knows it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Clock(nn.Module):
    """Counts the training steps of the method that it is a part of, in a buffer: a continuation goes on from there.

    One forward in training mode is one step, so that a batch must not be done in parts.
    """

    step: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self) -> Tensor:
        """Number of this step, int64; the first is 0. Moves on in training mode alone."""
        now = self.step.clone()
        if self.training:
            self.step += 1
        return now


class WarmUp(nn.Module):
    """The `factor` of a loss that is let in over `epochs`: 1/epochs in the first, 1 in the last of them and after; 1
    where there are none, and until `begin` says which epoch it is."""

    factor: Tensor

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self.register_buffer("factor", torch.ones(()), persistent=False)

    def begin(self, epoch: int) -> None:
        """The training loop's word: `epoch` from 0."""
        self.factor.fill_(min(1.0, (epoch + 1) / max(1, self.epochs)))

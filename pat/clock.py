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


def ramp(step: Tensor, steps_per_epoch: int, epochs: int) -> Tensor:
    """min(epoch / epochs, 1) of the step's epoch, the first being 1: the factor of a loss that is let in slowly."""
    epoch = 1 + step // max(1, steps_per_epoch)
    return (epoch / epochs).clamp(max=1)

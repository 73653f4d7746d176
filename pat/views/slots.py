"""Which random number of a (seed, epoch, index) is meant: the last key of every draw. New slots go to the end."""

from __future__ import annotations

import torch
from torch import Tensor

SCALE, RATIO, TOP, LEFT, FLIP, KERNEL, SWITCH, PARTNER, LAMBDA, BOX_Y, BOX_X = range(11)
OP, APPLY, MAGNITUDE, SIGN, RESAMPLE = range(11, 16)
JITTER_ORDER, JITTER, ERASE, ERASE_AREA, ERASE_RATIO, ERASE_TOP, ERASE_LEFT, NOISE = range(16, 24)
SIZE, FACTOR, SAMPLES = range(24, 27)


def several(first: int, count: int, device: torch.device) -> Tensor:
    """Slots that follow each other, as the key of one draw: int64 [count] on the device."""
    return torch.arange(first, first + count, device=device)

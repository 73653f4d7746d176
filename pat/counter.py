"""Counter-based random numbers: a draw is a pure function of its integer keys, on any device and in any order.

The mixing function is SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), in wrapping 64-bit integer arithmetic.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """The 64-bit pattern `value` as the signed integer that torch holds."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift; torch's own is arithmetic."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def hash64(*keys: int | Tensor) -> Tensor:
    """64 well-mixed bits (int64) for each combination of the broadcast integer `keys`, on the device of its tensors."""
    state = torch.zeros((), dtype=torch.int64)
    for key in keys:
        word = torch.as_tensor(key, dtype=torch.int64)
        if word.device.type != "cpu":  # a number after a key on a device must not bring the state back
            state = state.to(word.device, non_blocking=True)
        state = (state ^ word) + _GAMMA
        state = (state ^ _shift(state, 30)) * _MIX_1
        state = (state ^ _shift(state, 27)) * _MIX_2
        state = state ^ _shift(state, 31)
    return state


def uniform(*keys: int | Tensor) -> Tensor:
    """Uniform draws in [0, 1), float64 with 53 random bits, of the broadcast shape of `keys`."""
    return _shift(hash64(*keys), 11).to(torch.float64) * 2.0**-53


def permutation(size: int, *keys: int) -> Tensor:
    """A permutation of range(size), int64, that depends on (size, *keys) alone."""
    return torch.argsort(hash64(*keys, torch.arange(size)), stable=True)

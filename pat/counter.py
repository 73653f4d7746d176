"""Counter-based random numbers: a draw is a pure function of its integer keys, on any device and in any order.

The mixing function is SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), in wrapping 64-bit integer arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """The 64-bit pattern `value` as the signed integer that torch holds."""
    return value - (1 << 64) if value >= 1 << 63 else value


_WORD = (1 << 64) - 1
_GAMMA, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_KEYS = _signed(_GAMMA), _signed(_MIX_1), _signed(_MIX_2)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift; torch's own is arithmetic."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def hash_numbers(*keys: int) -> int:
    """`hash64` of numbers, as a number: no operation of torch's is started."""
    state = 0
    for key in keys:
        state = ((state ^ (key & _WORD)) + _GAMMA) & _WORD
        state = ((state ^ (state >> 30)) * _MIX_1) & _WORD
        state = ((state ^ (state >> 27)) * _MIX_2) & _WORD
        state ^= state >> 31
    return _signed(state)


def hash64(*keys: int | Tensor) -> Tensor:
    """64 well-mixed bits (int64) for each combination of the broadcast integer `keys`, on the device of its tensors.

    A hash goes on from where another one is: hash64(a, b) == hash64(hash64(a) ^ b). Numbers before the first tensor
    cost next to nothing.
    """
    first = next((place for place, key in enumerate(keys) if isinstance(key, Tensor)), len(keys))
    before = hash_numbers(*keys[:first])  # type: ignore[arg-type]
    if first == len(keys):
        return torch.tensor(before, dtype=torch.int64)
    state: Any = before
    for key in keys[first:]:
        word = key.to(torch.int64) if isinstance(key, Tensor) else _signed(key & _WORD)
        if isinstance(word, Tensor) and isinstance(state, Tensor) and word.device.type != "cpu":
            state = state.to(word.device, non_blocking=True)
        state = _mixed(state ^ word)
    found: Tensor = state
    return found


def _mixed(state: Tensor) -> Tensor:
    gamma, first, second = _KEYS
    state = state + gamma
    state = (state ^ _shift(state, 30)) * first
    state = (state ^ _shift(state, 27)) * second
    return state ^ _shift(state, 31)


def uniform(*keys: int | Tensor) -> Tensor:
    """Uniform draws in [0, 1), float64 with 53 random bits, of the broadcast shape of `keys`."""
    return _shift(hash64(*keys), 11).to(torch.float64) * 2.0**-53


def permutation(size: int, *keys: int) -> Tensor:
    """A permutation of range(size), int64, that depends on (size, *keys) alone."""
    return torch.argsort(hash64(*keys, torch.arange(size)), stable=True)

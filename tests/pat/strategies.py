"""Random matrices for the tests of losses, and plain-Python softmax to check them with."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st
from torch import Tensor

Rows = list[list[float]]


def matrices(rows: tuple[int, int] = (1, 4), columns: tuple[int, int] = (1, 6), reach: float = 20) -> st.SearchStrategy:
    """Lists of rows of equal length with values in [-reach, reach]."""
    value = st.floats(-reach, reach, width=32)
    return st.tuples(st.integers(*rows), st.integers(*columns)).flatmap(
        lambda shape: st.lists(
            st.lists(value, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
        )
    )


def random(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 3


def softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    top = max(row)
    powers = [math.exp((x - top) / temperature) for x in row]
    return [power / sum(powers) for power in powers]


def log_softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    top = max(row)
    total = math.log(sum(math.exp((x - top) / temperature) for x in row))
    return [(x - top) / temperature - total for x in row]

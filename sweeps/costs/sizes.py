"""The bytes of a run's files, counted without writing them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor


class _Counter:
    """A file that only counts."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, data: Any) -> int:
        self.bytes += len(data)
        return len(data)

    def flush(self) -> None:
        pass


def checkpoint_bytes(state: Mapping[str, Any]) -> int:
    """The size of the checkpoint of a training's `state`, but for the archive's own name, which stands in it often."""
    counter = _Counter()
    torch.save(dict(state), counter)  # type: ignore[arg-type]
    return counter.bytes


def student_bytes(weights: Mapping[str, Tensor]) -> int:
    """The size of the file of an exported student."""
    return len(save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}))

"""stub"""

from __future__ import annotations

from torch import Tensor


def valid_area(sizes: Tensor, canvas: object, level: object) -> Tensor:
    raise NotImplementedError

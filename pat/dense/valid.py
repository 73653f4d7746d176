"""Which part of a map belongs to the image, and which to the padding beside it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pat.layouts import Size


def valid_area(sizes: Tensor, canvas: Size, level_size: Size) -> Tensor:
    """Which cells of a level lie on the image rather than on padding alone, bool [B, 1, h, w].

    `sizes` [B, 2] are heights and widths of the images in pixels, in the upper left corner of the `canvas` (h, w).
    The level's stride is taken for a power of two. Of every image at least one cell is valid.
    """
    inside = []
    for axis, (pixels, cells) in enumerate(zip(canvas, level_size, strict=True)):
        stride = 2 ** round(math.log2(pixels / cells))
        inside.append(torch.arange(cells, device=sizes.device) * stride < sizes[:, axis, None])
    rows, columns = inside
    return (rows[:, :, None] & columns[:, None, :])[:, None]

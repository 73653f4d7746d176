"""PIL's affine transforms on batches: uint8 [B, 3, H, W] in and out, one parameter per sample [B].

Source: Pillow's `Image.transform(size, AFFINE, …)`. Its kernels there are not those of its `resize`: the cubic one has
a = -1 (not -0.5), nothing is widened when shrinking, a pixel outside the source takes the fill colour, a tap outside
takes the nearest pixel, and the result is truncated, not rounded.

`cubic` chooses the kernel (else bilinear), `fill` int32 [3] is the colour outside.
"""

from __future__ import annotations

import torch
from torch import Tensor

_WHOLE = 2.0**-12
"""Keeps a value that is whole but for float32 rounding (say 99.99999) from being truncated to one level less."""


def shear_x(images: Tensor, factor: Tensor, cubic: bool, fill: Tensor) -> Tensor:
    """Each row shifted by `factor` times its height."""
    rows = torch.arange(images.shape[2], dtype=torch.float64, device=images.device) + 0.5
    return _shift_rows(images, factor[:, None] * rows, cubic, fill)


def shear_y(images: Tensor, factor: Tensor, cubic: bool, fill: Tensor) -> Tensor:
    """As shear_x, for columns."""
    return shear_x(images.transpose(2, 3), factor, cubic, fill).transpose(2, 3)


def translate_x(images: Tensor, share: Tensor, cubic: bool, fill: Tensor) -> Tensor:
    """All rows shifted by `share` of the width."""
    shift = (share * images.shape[3])[:, None].expand(-1, images.shape[2])
    return _shift_rows(images, shift, cubic, fill)


def translate_y(images: Tensor, share: Tensor, cubic: bool, fill: Tensor) -> Tensor:
    """As translate_x, for columns."""
    return translate_x(images.transpose(2, 3), share, cubic, fill).transpose(2, 3)


def rotate(images: Tensor, degrees: Tensor, cubic: bool, fill: Tensor) -> Tensor:
    """Turned about the middle, counter-clockwise (Image.rotate)."""
    height, width = images.shape[2:]
    angle = -torch.deg2rad(degrees.double())[:, None, None]
    cos, sin = angle.cos(), angle.sin()
    x = torch.arange(width, dtype=torch.float64, device=images.device) + 0.5
    y = torch.arange(height, dtype=torch.float64, device=images.device)[:, None] + 0.5
    middle_x, middle_y = width / 2, height / 2
    source_x = cos * x + sin * y + (middle_x - cos * middle_x - sin * middle_y)  # [B, H, W]
    source_y = -sin * x + cos * y + (middle_y + sin * middle_x - cos * middle_y)
    inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
    columns, rows = _taps(source_x, width, cubic), _taps(source_y, height, cubic)
    pixels = images.flatten(2)
    total = torch.full(pixels.shape, _WHOLE, device=images.device)
    for row, down in rows:
        line = torch.zeros_like(total)
        start = row * width
        for column, across in columns:
            taken = pixels.gather(2, (start + column).expand_as(pixels))
            line.addcmul_(taken.float(), across)
        total.addcmul_(line, down)
    return _finish(total.view_as(images), inside, fill)


def _taps(source: Tensor, size: int, cubic: bool) -> list[tuple[Tensor, Tensor]]:
    """Which pixels of a line of `size` are read for the places `source` [B, H, W], and their float32 weights.

    Each [B, 1, H W]; two pixels, or four.
    """
    source = (source - 0.5).flatten(1)[:, None]
    first = source.floor()
    right = (source - first).float()
    left = 1 - right
    if cubic:
        bend = left * right  # Keys' kernel of a = -1 is the straight line and this
        weights: tuple[Tensor, ...] = (-left * bend, left + left * bend, right + right * bend, -right * bend)
    else:
        weights = (left, right)
    start = first.long() + 1 - len(weights) // 2
    return [((start + place).clamp_(0, size - 1), weight) for place, weight in enumerate(weights)]


def _shift_rows(images: Tensor, shift: Tensor, cubic: bool, fill: Tensor) -> Tensor:
    """Pixel x of a row is read at x + its `shift` [B, H]: one dimension, neighbouring taps.

    In PIL's own float64 arithmetic: at a round shift many values are whole, and its rounding error alone decides
    whether they are truncated.
    """
    width = images.shape[3]
    place = torch.arange(-1, width + 2, device=images.device)
    index = (shift.floor().long()[..., None] + place).clamp_(0, width - 1)  # [B, H, W + 3]
    pixels = images.gather(3, index[:, None].expand(-1, 3, -1, -1)).short()
    far_left, left, right, far_right = (pixels[..., tap : tap + width] for tap in range(4))
    source = (place[1:-2] + 0.5) + shift[..., None]  # [B, H, W]
    inside = (source >= 0) & (source < width)
    source = source.sub_(0.5)
    fraction = (source - source.floor())[:, None]
    if cubic:
        second, third = 2 * (far_left - left) + right - far_right, left - far_left + far_right - right
        values = third.double().mul_(fraction).add_(second.double()).mul_(fraction).add_((right - far_left).double())
    else:
        values = (right - left).double()
    return _finish(values.mul_(fraction).add_(left.double()), inside, fill)


def _finish(values: Tensor, inside: Tensor, fill: Tensor) -> Tensor:
    """Values [B, 3, H, W] to whole levels; the fill colour where `inside` [B, H, W] is false."""
    fill = fill[:, None, None]
    levels = values.clamp_(0, 255).int().sub_(fill).mul_(inside.int()[:, None]).add_(fill)
    return levels.to(torch.uint8)

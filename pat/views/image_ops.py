"""PIL's point and neighbourhood operations on batches: uint8 [B, 3, H, W] in and out, one parameter per sample [B].

Source: Pillow's ImageOps, ImageEnhance and Image.blend, whose integer and float32 roundings are kept, so that a pixel
is PIL's own. No operation waits for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

_CACHED = 3 * 224 * 224
"""Pixels that the CPU works on at a time: at 224 px, one image at a time is about twice as fast as four."""


def invert(images: Tensor) -> Tensor:
    """255 - pixel (ImageOps.invert)."""
    return ~images


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keeps the highest `bits` of each pixel (ImageOps.posterize).

    0 bits (or fewer) give black, as Pillow did before 13; Pillow 13 raises an error, and with it timm's recipe
    `rand-m9-mstd0.5-inc1` in 0.15 % of the images. 8 bits (or more) change nothing.
    """
    mask = -(1 << (8 - bits.long().clamp(0, 8)))
    return images & _column(mask.bitwise_and(255).to(torch.uint8))


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Inverts the pixels that are not below `threshold`, 0 … 256 (ImageOps.solarize)."""
    chosen = images >= _column(threshold.short())
    return images ^ -chosen.view(torch.uint8)  # -1 is 255, all bits, in unsigned arithmetic


def solarize_add(images: Tensor, add: Tensor) -> Tensor:
    """Adds `add`, 0 … 128, to the pixels below 128 (timm's solarize_add; not in PIL)."""
    return images + (images < 128).view(torch.uint8) * _column(add.to(torch.uint8))


def auto_contrast(images: Tensor) -> Tensor:
    """Stretches each channel to 0 … 255 (ImageOps.autocontrast); a channel of one value stays as it is."""
    levels = torch.arange(256, dtype=torch.float64, device=images.device)
    low, high = (edge.double()[..., None] for edge in (images.amin((2, 3)), images.amax((2, 3))))  # [B, 3, 1]
    scale = torch.full_like(high, 255) / (high - low)  # not 255 / tensor: torch multiplies by the reciprocal
    stretched = (levels * scale + -low * scale).clamp(0, 255).trunc()
    return _look_up(images, torch.where(high > low, stretched, levels))


def equalize(images: Tensor) -> Tensor:
    """Makes the histogram of each channel flat (ImageOps.equalize)."""
    pixels = images.flatten(2).long()
    one = torch.ones((), dtype=torch.int32, device=images.device)
    counts = torch.zeros(*images.shape[:2], 256, dtype=torch.int32, device=images.device)
    counts = counts.scatter_add_(2, pixels, one.expand_as(pixels)).long()
    levels = torch.arange(256, device=images.device)
    highest = images.amax((2, 3)).long()[..., None]
    step = (pixels.shape[2] - counts.gather(2, highest)).div(255, rounding_mode="floor")  # [B, 3, 1]
    below = counts.cumsum(2) - counts
    flat = (step.div(2, rounding_mode="floor") + below).div(step.clamp(min=1), rounding_mode="floor").clamp(max=255)
    return _look_up(images, torch.where(step > 0, flat, levels))


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Away from black (ImageEnhance.Brightness): 0 is black, 1 the image itself."""
    return blend(images, torch.zeros(1, 1, 1, 1, device=images.device), factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Away from the mean grey (ImageEnhance.Contrast): 0 is grey, 1 the image itself."""
    return blend(images, mean_grey(luminance(images)), factor)


def colour(images: Tensor, factor: Tensor) -> Tensor:
    """Away from the grey image (ImageEnhance.Color): 0 has no colour, 1 is the image itself."""
    return blend(images, luminance(images), factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Away from the smoothed image (ImageEnhance.Sharpness): 0 is smooth, 1 the image itself.

    The kernel is 1 1 1 / 1 5 1 / 1 1 1 over 13; pixels at the border are not smoothed.
    """
    wide = images.short()
    rows = wide[..., :-2] + wide[..., 1:-1] + wide[..., 2:]
    total = rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :] + 4 * wide[..., 1:-1, 1:-1]
    smooth = images.float()
    smooth[..., 1:-1, 1:-1] = (total * (1 / 13) + 0.5).floor_()
    return blend(images, smooth, factor)


def luminance(images: Tensor) -> Tensor:
    """PIL's conversion to L: whole numbers as float32 [B, 1, H, W]."""
    pixels = images.float()
    grey = (pixels[:, :1] * 19595).add_(pixels[:, 1:2], alpha=38470).add_(pixels[:, 2:], alpha=7471)
    return grey.add_(32768).div_(65536).floor_()  # exact in float32: below 2**24


def mean_grey(luminances: Tensor) -> Tensor:
    """The mean of each [B, 1, H, W], rounded as ImageEnhance.Contrast does: float32 [B, 1, 1, 1]."""
    pixels = luminances.shape[-2] * luminances.shape[-1]
    total = luminances.sum((1, 2, 3), keepdim=True, dtype=torch.float64)  # exact in any order
    return (total / pixels + 0.5).floor().float()


def blend(images: Tensor, degenerate: Tensor, factor: Tensor) -> Tensor:
    """`degenerate` + factor (images - degenerate), cut to 0 … 255 and truncated (Image.blend, in its float32)."""
    away = images.float().sub_(degenerate).mul_(_column(factor.float()))
    return away.add_(degenerate).clamp_(0, 255).int().to(torch.uint8)  # by way of int32: several times faster


def at_once(images: Tensor) -> int:
    """How many of `images` to work on at a time: on the CPU those whose intermediate results stay in its cache."""
    return max(1, _CACHED // images.shape[1:].numel() if images.device.type == "cpu" else len(images))


def _look_up(images: Tensor, table: Tensor) -> Tensor:
    """The entry of `table` [B, 3, 256] for each pixel."""
    return table.to(torch.uint8).gather(2, images.flatten(2).long()).view_as(images)


def _column(values: Tensor) -> Tensor:
    """[B] -> [B, 1, 1, 1]."""
    return values[:, None, None, None]

"""Crops and resizes as one separable matrix product, `Wy @ image @ Wx^T`, with PIL's kernels and rounding."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pat.config import Recipe
from pat.counter import uniform
from pat.views import slots
from pat.views.image_ops import at_once

Boxes = tuple[Tensor, Tensor, Tensor, Tensor]
"""Top, left, height and width of one crop per sample, in source pixels, float64 [B] each."""

_DRAWS = 10
"""How often a random crop is drawn until it fits."""


def crop_boxes(
    indices: Tensor, height: int | Tensor, width: int | Tensor, recipe: Recipe, seed: int, epoch: int
) -> Boxes:
    """Boxes of a random resized crop (Inception) in integer pixels, distributed as torchvision's and timm's.

    Area share and logarithm of the aspect ratio are uniform; of ten draws the first that fits the image counts, else
    the largest middle box of an allowed ratio. `height` and `width` are those of the images, numbers or [B].
    """
    height, width = (torch.as_tensor(v, dtype=torch.float64, device=indices.device) for v in (height, width))
    height, width = height.expand(len(indices)), width.expand(len(indices))
    (low, high), (narrow, wide) = recipe.crop_scale, recipe.crop_ratio
    if low == high == narrow == wide == 1:
        side = height.minimum(width)
        return (height - side).div(2).floor(), (width - side).div(2).floor(), side, side
    device = indices.device
    draw = torch.arange(_DRAWS, device=device)
    slot = slots.several(slots.SCALE, 2, device)[:, None]
    scale, ratio = uniform(seed, epoch, indices[:, None, None], slot, draw).unbind(1)
    area = (height * width)[:, None] * (low + (high - low) * scale)
    log_ratio = math.log(narrow) + math.log(wide / narrow) * ratio
    heights, widths = ((area * (sign * log_ratio).exp()).sqrt().round() for sign in (-1, 1))  # [B, draws]
    fits = (heights > 0) & (heights <= height[:, None]) & (widths > 0) & (widths <= width[:, None])
    first = fits.byte().argmax(1, keepdim=True)  # the first of equals
    fitting = fits.any(1)
    box_height = torch.where(fitting, heights.gather(1, first)[:, 0], (width / narrow).round().minimum(height))
    box_width = torch.where(fitting, widths.gather(1, first)[:, 0], (height * wide).round().minimum(width))
    top, left = ((full - box).div(2).floor() for full, box in ((height, box_height), (width, box_width)))
    down, along = uniform(seed, epoch, indices[:, None], slots.several(slots.TOP, 2, device)).unbind(1)
    top = torch.where(fitting, (down * (height - box_height + 1)).floor(), top)
    left = torch.where(fitting, (along * (width - box_width + 1)).floor(), left)
    return top, left, box_height, box_width


def resized_crop(images: Tensor, boxes: Boxes, flip: Tensor, cubic: Tensor, image_size: int) -> Tensor:
    """Crop, resize to `image_size` and flip uint8 [B, C, H, W]; uint8 [B, C, S, S].

    As PIL's `image.crop(box).resize(…)`: the kernel is widened when shrinking, clipped at the box, horizontal pass
    first, 8-bit rounding after each. `flip`, `cubic` (else bilinear) bool [B]. What lies outside the boxes is never
    seen, so images may be padded.
    """
    top, left, box_height, box_width = boxes
    horizontal = kernel_weights(
        image_size, images.shape[-1], left, box_width / image_size, (left, left + box_width), cubic
    )
    horizontal = torch.where(flip[:, None, None], horizontal.flip(1), horizontal)
    vertical = kernel_weights(
        image_size, images.shape[-2], top, box_height / image_size, (top, top + box_height), cubic
    )
    return resample(images, vertical, horizontal)


def resized_middle(images: Tensor, heights: Tensor, widths: Tensor, short: int, cubic: bool, image_size: int) -> Tensor:
    """Resize the shorter side to `short` pixels, then cut out the middle: uint8 [B, C, H, W] to uint8 [B, C, S, S].

    As torchvision's Resize and CenterCrop on PIL images, which timm evaluates with: the longer side is rounded down
    to whole pixels, and the kernel reaches beyond the middle. Images are `heights` x `widths` [B] pixels at the top
    left of H x W. `short` is at least `image_size`.
    """
    sides, weights = heights.minimum(widths), []
    for length, full in ((heights, images.shape[-2]), (widths, images.shape[-1])):
        resized = (length * short).div(sides, rounding_mode="floor")
        scale = length.double() / resized
        start = ((resized - image_size) / 2).round() * scale
        kernel = torch.full_like(length, cubic, dtype=torch.bool)
        weights.append(kernel_weights(image_size, full, start, scale, (torch.zeros_like(length), length), kernel))
    return resample(images, *weights)


def resample(images: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """uint8 [B, C, H, W] to uint8 [B, C, h, w] by weights [B, h, H] and [B, w, W]. A part at a time."""
    out = images.new_empty(*images.shape[:2], vertical.shape[1], horizontal.shape[1])
    for part in torch.arange(len(images), device=images.device).split(at_once(out)):
        across = horizontal[part].transpose(1, 2)[:, None]
        rows = (images[part].float() @ across).add_(0.5).floor_().clamp_(0, 255)  # [b, C, H, w]
        out[part] = (vertical[part][:, None] @ rows).add_(0.5).floor_().clamp_(0, 255).int().to(torch.uint8)
    return out


def kernel_weights(
    out_size: int, in_size: int, start: Tensor, scale: Tensor, limits: tuple[Tensor, Tensor], cubic: Tensor
) -> Tensor:
    """Rows of weights [B, out, in]: output pixel i is centred at start + (i + 1/2) * scale.

    No pixel outside `limits` is read. `start`, `scale`, both limits [B] in pixels of the line.
    """
    device = start.device
    start, scale, low, high = (x[:, None, None] for x in (start, scale, *limits))
    stretch = scale.clamp(min=1)  # antialiasing: the kernel covers at least one source pixel
    centre = start + (torch.arange(out_size, device=device, dtype=torch.float64)[:, None] + 0.5) * scale
    position = torch.arange(in_size, device=device, dtype=torch.float64) + 0.5
    distance = ((position - centre) / stretch).abs()  # [B, out, in]
    weights = torch.where(cubic[:, None, None], _cubic(distance), (1 - distance).clamp(min=0))
    weights = weights * ((position > low) & (position < high))
    return (weights / weights.sum(-1, keepdim=True)).float()


def _cubic(x: Tensor, a: float = -0.5) -> Tensor:
    """Keys' cubic convolution kernel with PIL's constant."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))

"""Random erasing (Zhong et al., AAAI 2020) as timm does it in its mode "pixel": one box of noise in some images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pat.counter import hash64, uniform
from pat.views import slots
from pat.views.image_ops import at_once

_DRAWS = 10
"""How often a box is drawn until it fits."""

_AREA = (0.02, 1 / 3)
_LOG_RATIO = (math.log(0.3), math.log(1 / 0.3))


def random_erasing(images: Tensor, indices: Tensor, probability: float, seed: int, epoch: int) -> Tensor:
    """Writes a box of N(0, 1) noise into a share `probability` of `images`, normalised float [B, C, H, W].

    They are changed themselves, as by timm, and returned. A pure function of (seed, epoch, index). Numbers are only
    made for the pixels erased, and with indices on the CPU nothing waits for the device.
    """
    places = indices.cpu()
    height, width = images.shape[-2:]
    box = torch.stack(erasing_boxes(places, height, width, probability, seed, epoch), 1)
    keys = hash64(seed, epoch, places, slots.NOISE)
    for part in (box[:, 2] > 0).nonzero()[:, 0].split(at_once(images)):
        counts = images.shape[1] * box[part, 2] * box[part, 3]
        noise = _noise(keys[part], counts, images.device).to(images.dtype)
        for sample, values in zip(part.tolist(), noise.split(counts.tolist()), strict=True):
            top, left, height, width = box[sample].tolist()
            erased = images[sample, :, top : top + height, left : left + width]
            erased.copy_(values.view(erased.shape))
    return images


def _noise(keys: Tensor, counts: Tensor, device: torch.device) -> Tensor:
    """N(0, 1) noise, `counts` [K] numbers for each of `keys` [K] (both on the CPU), one after the other."""
    table = torch.stack((keys, counts.cumsum(0) - counts, counts)).to(device, non_blocking=True)
    total = int(counts.sum())
    key, start = (row.repeat_interleave(table[2], output_size=total) for row in table[:2])
    number = torch.arange(total, device=device) - start
    draw = uniform(key ^ number).clamp_(min=2.0**-54)  # the counter's own last round: uniform(seed, …, NOISE, number)
    return draw.mul_(2).sub_(1).erfinv_().mul_(math.sqrt(2))


def erasing_boxes(
    indices: Tensor, height: int, width: int, probability: float, seed: int, epoch: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, height and width of the box in each image, int64 [B]; height 0 where nothing is erased.

    The area's share is uniform in 0.02 … 1/3, the logarithm of height / width in log 0.3 … -log 0.3; of ten draws the
    first that is smaller than the image counts, and if none is, nothing is erased.
    """
    draw = torch.arange(_DRAWS, device=indices.device)
    slot = slots.several(slots.ERASE_AREA, 2, indices.device)[:, None]
    drawn = uniform(seed, epoch, indices[:, None, None], slot, draw).unbind(1)
    area, log_ratio = (low + (high - low) * one for one, (low, high) in zip(drawn, (_AREA, _LOG_RATIO), strict=True))
    heights, widths = ((area * height * width * (sign * log_ratio).exp()).sqrt().round().long() for sign in (1, -1))
    fits = (heights < height) & (widths < width)
    first = fits.byte().argmax(1, keepdim=True)  # the first of equals
    erased = fits.any(1) & (uniform(seed, epoch, indices, slots.ERASE) < probability)
    box_height, box_width = (torch.where(erased, sides.gather(1, first)[:, 0], 0) for sides in (heights, widths))
    down, along = uniform(seed, epoch, indices[:, None], slots.several(slots.ERASE_TOP, 2, indices.device)).unbind(1)
    top, left = (down * (height - box_height + 1)).long(), (along * (width - box_width + 1)).long()
    return top, left, box_height, box_width

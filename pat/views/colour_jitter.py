"""Colour jitter as torchvision's ColorJitter on PIL images, which timm applies where there is no RandAugment."""

from __future__ import annotations

import torch
from torch import Tensor

from pat.counter import uniform
from pat.views import slots
from pat.views.image_ops import at_once, blend, luminance, mean_grey


def colour_jitter(images: Tensor, indices: Tensor, strength: float, seed: int, epoch: int) -> Tensor:
    """uint8 [B, 3, H, W] -> uint8: brightness, contrast and saturation changed, in an order drawn for each sample.

    The factors are uniform in [max(0, 1 - strength), 1 + strength]; hue stays, and no sample is left out. A pure
    function of (seed, epoch, index); with indices on the CPU nothing waits for the device.
    """
    if strength == 0:
        return images
    drawn = draw(indices.cpu(), strength, seed, epoch)
    factors, order = (values.to(images.device, non_blocking=True) for values in drawn)
    size = at_once(images)
    return torch.cat([_jitter(*part) for part in zip(*(x.split(size) for x in (images, factors, order)), strict=True)])


def _jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """The three changes, one after the other; each is a blend, so samples need not be sorted by their order."""
    for change in order.unbind(1):
        grey = luminance(images)
        contrast, saturation = ((change == number)[:, None, None, None] for number in (1, 2))
        degenerate = saturation * grey + contrast * mean_grey(grey)  # black for brightness
        images = blend(images, degenerate, factors.gather(1, change[:, None])[:, 0])
    return images


def draw(indices: Tensor, strength: float, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
    """Factors of brightness, contrast and saturation, float64 [B, 3], and the order of the three, int64 [B, 3]."""
    three, slot = torch.arange(3), slots.several(slots.JITTER_ORDER, 2, indices.device)[:, None]
    order, level = uniform(seed, epoch, indices[:, None, None], slot, three).unbind(1)
    low = max(0.0, 1 - strength)
    return low + (1 + strength - low) * level, order.argsort(1)

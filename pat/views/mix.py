"""Mixup and cutmix: how much of each pixel stays the sample's own."""

from __future__ import annotations

import scipy.special
import torch
from torch import Tensor

from pat.config import Recipe
from pat.counter import uniform
from pat.views import slots


def shares(indices: Tensor, recipe: Recipe, image_size: int, seed: int, epoch: int) -> Tensor:
    """How much of each pixel stays the sample's own, [B, 1, S, S]: a constant (mixup) or a mask (cutmix).

    Each sample draws its own lambda ~ Beta(alpha, alpha); with both on, one of the two is chosen with p = 1/2.
    """
    both = recipe.mixup > 0 and recipe.cutmix > 0
    cut = uniform(seed, epoch, indices, slots.SWITCH) < (0.5 if both else float(recipe.cutmix > 0))
    alpha = torch.where(cut, recipe.cutmix or 1.0, recipe.mixup or 1.0).cpu().numpy()
    draws = uniform(seed, epoch, indices, slots.LAMBDA).cpu().numpy()
    kept = torch.from_numpy(scipy.special.betaincinv(alpha, alpha, draws)).to(indices.device)
    side = (1 - kept).sqrt() * image_size / 2
    pixels = torch.arange(image_size, device=indices.device, dtype=torch.float64) + 0.5
    near = []
    for slot in (slots.BOX_Y, slots.BOX_X):
        centre = uniform(seed, epoch, indices, slot) * image_size
        near.append((pixels - centre[:, None]).abs() < side[:, None])  # [B, S]
    box = near[0][:, :, None] & near[1][:, None, :]
    constant = kept[:, None, None].expand_as(box)
    return torch.where(cut[:, None, None], (~box).double(), constant)[:, None]

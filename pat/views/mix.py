"""Mixup and cutmix as timm mixes the 8-bit images of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from pat.config import Recipe
from pat.counter import uniform
from pat.views import slots
from pat.views.image_ops import at_once


def mix(
    images: Tensor, targets: Tensor, partners: Tensor, keys: Tensor, recipe: Recipe, seed: int, epoch: int
) -> tuple[Tensor, Tensor]:
    """Mixes uint8 [B, C, S, S] and targets [B, classes] with those of `partners` (places in the batch, [B]).

    Each of `keys` (int64 on the CPU, [B], or [1] for the whole batch) draws its own lambda ~ Beta(alpha, alpha) and,
    with both on, mixup or cutmix with p = 1/2. Mixup rounds to whole levels. Cutmix cuts timm's box: sides
    sqrt(1 - lambda), the centre anywhere, clipped at the border; the label's share is that of the pixels left.
    """
    drawn = _draw(keys, recipe, images.shape[-1], seed, epoch)
    kept, box = (values.to(images.device, non_blocking=True) for values in drawn)
    pixels = torch.arange(images.shape[-1], device=images.device)
    top, bottom, left, right = box[:, :, None].unbind(1)  # [K, 1] each
    rows, columns = (pixels >= top) & (pixels < bottom), (pixels >= left) & (pixels < right)
    inside = (rows[:, :, None] & columns[:, None, :])[:, None]  # [K, 1, S, S]; empty for mixup
    cut = (bottom > top) & (right > left)
    share = torch.where(cut[:, :, None, None], (~inside).double(), kept[:, None, None, None])
    kept = kept[:, None]
    mixed_targets = targets * kept.float() + targets[partners] * (1 - kept).float()
    return _blend(images, partners, share), mixed_targets


def _blend(images: Tensor, partners: Tensor, share: Tensor) -> Tensor:
    """Whole levels of share * own + (1 - share) * partner's; `share` float64 [B or 1, 1, S, S]. A part at a time."""
    mixed, (own, rest) = torch.empty_like(images), (share.float(), (1 - share).float())
    for part in torch.arange(len(images), device=images.device).split(at_once(images)):
        keys = part if len(share) > 1 else slice(None)
        blended = images[part] * own[keys] + images[partners[part]] * rest[keys]
        mixed[part] = blended.round_().int().to(torch.uint8)  # straight to uint8 is three times slower on a CPU
    return mixed


def _draw(keys: Tensor, recipe: Recipe, size: int, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
    """Each key's share of the label that is kept, float64 [K], and its box (top, bottom, left, right), int64 [K, 4]."""
    from scipy.special import betaincinv  # takes half a second, and few mix

    both = recipe.mixup > 0 and recipe.cutmix > 0
    cut = uniform(seed, epoch, keys, slots.SWITCH) < (0.5 if both else float(recipe.cutmix > 0))
    alpha = torch.where(cut, recipe.cutmix or 1.0, recipe.mixup or 1.0).numpy()
    kept = torch.from_numpy(betaincinv(alpha, alpha, uniform(seed, epoch, keys, slots.LAMBDA).numpy()))
    side = torch.where(cut, (size * (1 - kept).sqrt()).long(), 0)
    edges = []
    for drawn in uniform(seed, epoch, keys[:, None], slots.several(slots.BOX_Y, 2, keys.device)).unbind(1):
        centre = (drawn * size).long()
        edges += [(centre - side // 2).clamp(0, size), (centre + (side + 1) // 2).clamp(0, size)]
    box = torch.stack(edges, 1)
    left_over = 1 - ((edges[1] - edges[0]) * (edges[3] - edges[2])).double() / size**2
    return torch.where(cut, left_over, kept), box

"""From stored images to the batches that are trained on and scored."""

from __future__ import annotations

import torch
from torch import Tensor

from pat.config import Recipe
from pat.counter import hash64, uniform
from pat.data import Split
from pat.views import slots
from pat.views.crop import crop_boxes, resized_crop
from pat.views.mix import shares


def train_batch(
    split: Split, indices: Tensor, recipe: Recipe, image_size: int, num_classes: int, seed: int, epoch: int
) -> tuple[Tensor, Tensor]:
    """Images float32 [B, 3, S, S] in [0, 1] and targets [B, C] (each row sums to 1) of the samples `indices` [B]."""
    images = _crops(split, indices, recipe, image_size, seed, epoch)
    targets = _smooth(split.labels[indices], num_classes, recipe.label_smoothing)
    if recipe.mixup == recipe.cutmix == 0:
        return images, targets
    partners = hash64(seed, epoch, indices, slots.PARTNER).remainder(len(split))
    others = _crops(split, partners, recipe, image_size, seed, epoch)
    share = shares(indices, recipe, image_size, seed, epoch).to(images.device, images.dtype)  # [B, 1, S, S]
    kept = share.mean((1, 2, 3))[:, None].to(targets.dtype)
    other_targets = _smooth(split.labels[partners], num_classes, recipe.label_smoothing)
    return images * share + others * (1 - share), targets * kept + other_targets * (1 - kept)


def eval_batch(images: Tensor, image_size: int) -> Tensor:
    """uint8 [B, 3, H, W] -> float32 [B, 3, S, S] in [0, 1]: the middle square, resized bicubically."""
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left, length = (
        torch.full((len(images),), float(value), dtype=torch.float64, device=images.device)
        for value in ((height - side) / 2, (width - side) / 2, side)
    )
    no_flip = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    return resized_crop(images, (top, left, length, length), no_flip, ~no_flip, image_size)


def _smooth(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """One-hot rows [B, C] with the share `smoothing` spread over all classes."""
    one_hot = torch.nn.functional.one_hot(labels, num_classes).float()
    return one_hot * (1 - smoothing) + smoothing / num_classes


def _crops(split: Split, indices: Tensor, recipe: Recipe, image_size: int, seed: int, epoch: int) -> Tensor:
    """Random resized crop and flip of the samples `indices`: float32 [B, 3, S, S] in [0, 1]."""
    images = split.images[indices]
    boxes = crop_boxes(indices, images.shape[-2], images.shape[-1], recipe, seed, epoch)
    flip = uniform(seed, epoch, indices, slots.FLIP) < recipe.flip
    cubic = {"bilinear": 0.0, "bicubic": 1.0, "random": 0.5}[recipe.interpolation]
    return resized_crop(images, boxes, flip, uniform(seed, epoch, indices, slots.KERNEL) < cubic, image_size)

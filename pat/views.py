"""Batched augmentation on the device of the images; a view is a pure function of (seed, epoch, index).

Cropping, resizing and flipping are one separable matrix product, `Wy @ image @ Wx^T`, with the resampling kernels
of PIL and its rounding to 8 bits after each pass, so a view does not depend on batch size, neighbours or device count.
"""

from __future__ import annotations

import math

import scipy.special
import torch
from torch import Tensor

from pat.config import Recipe
from pat.counter import hash64, uniform
from pat.data import Split

_SCALE, _RATIO, _TOP, _LEFT, _FLIP, _KERNEL, _SWITCH, _PARTNER, _LAMBDA, _BOX_Y, _BOX_X = range(11)
"""Slots: which random number of a (seed, epoch, index) is meant."""

Boxes = tuple[Tensor, Tensor, Tensor, Tensor]
"""Top, left, height and width of one crop per sample, in source pixels, float64 [B] each."""


def train_batch(
    split: Split, indices: Tensor, recipe: Recipe, image_size: int, num_classes: int, seed: int, epoch: int
) -> tuple[Tensor, Tensor]:
    """Images float32 [B, 3, S, S] in [0, 1] and targets [B, C] (each row sums to 1) of the samples `indices` [B]."""
    images = _crops(split, indices, recipe, image_size, seed, epoch)
    targets = _smooth(split.labels[indices], num_classes, recipe.label_smoothing)
    if recipe.mixup == recipe.cutmix == 0:
        return images, targets
    partners = hash64(seed, epoch, indices, _PARTNER).remainder(len(split))
    others = _crops(split, partners, recipe, image_size, seed, epoch)
    share = _shares(indices, recipe, image_size, seed, epoch).to(images.device, images.dtype)  # [B, 1, S, S]
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
    flip = uniform(seed, epoch, indices, _FLIP) < recipe.flip
    cubic = {"bilinear": 0.0, "bicubic": 1.0, "random": 0.5}[recipe.interpolation]
    return resized_crop(images, boxes, flip, uniform(seed, epoch, indices, _KERNEL) < cubic, image_size)


def crop_boxes(indices: Tensor, height: int, width: int, recipe: Recipe, seed: int, epoch: int) -> Boxes:
    """Boxes of a random resized crop (Inception): area share uniform, log aspect ratio uniform, integer pixels.

    Drawn once, then clipped to the image, where torchvision redraws up to ten times: a fixed number of draws keeps
    the view a function of its counter. With scale and ratio (1, 1) the box is the whole image.
    """
    (low, high), (narrow, wide) = recipe.crop_scale, recipe.crop_ratio
    area = height * width * (low + (high - low) * uniform(seed, epoch, indices, _SCALE))
    log_ratio = math.log(narrow) + (math.log(wide) - math.log(narrow)) * uniform(seed, epoch, indices, _RATIO)
    if low == high == narrow == wide == 1:
        box_height, box_width = torch.full_like(area, height), torch.full_like(area, width)
    else:
        box_height = (area / log_ratio.exp()).sqrt().round().clamp(1, height)
        box_width = (area * log_ratio.exp()).sqrt().round().clamp(1, width)
    top = (uniform(seed, epoch, indices, _TOP) * (height - box_height + 1)).floor()
    left = (uniform(seed, epoch, indices, _LEFT) * (width - box_width + 1)).floor()
    return top, left, box_height, box_width


def resized_crop(images: Tensor, boxes: Boxes, flip: Tensor, cubic: Tensor, image_size: int) -> Tensor:
    """Crop, resize to `image_size` and flip uint8 [B, C, H, W]; float32 [B, C, S, S] in [0, 1].

    As PIL's `image.crop(box).resize(…)`: the kernel is widened when shrinking, clipped at the box, horizontal pass
    first, 8-bit rounding after each. `flip`, `cubic` (else bilinear) bool [B].
    """
    top, left, box_height, box_width = boxes
    horizontal = _resampling(image_size, images.shape[-1], left, box_width, cubic)
    horizontal = torch.where(flip[:, None, None], horizontal.flip(1), horizontal)
    vertical = _resampling(image_size, images.shape[-2], top, box_height, cubic)
    pixels = images.float()
    rows = (pixels @ horizontal.transpose(1, 2)[:, None]).add_(0.5).floor_().clamp_(0, 255)  # [B, C, H, S]
    return (vertical[:, None] @ rows).add_(0.5).floor_().clamp_(0, 255).div_(255)


def _resampling(out_size: int, in_size: int, start: Tensor, length: Tensor, cubic: Tensor) -> Tensor:
    """Rows of weights [B, out, in] that resample the pixels start … start + length of a line to `out_size`."""
    device = start.device
    scale = (length / out_size)[:, None, None]
    stretch = scale.clamp(min=1)  # antialiasing: the kernel covers at least one source pixel
    centre = start[:, None, None] + (torch.arange(out_size, device=device, dtype=torch.float64)[:, None] + 0.5) * scale
    position = torch.arange(in_size, device=device, dtype=torch.float64) + 0.5
    distance = ((position - centre) / stretch).abs()  # [B, out, in]
    weights = torch.where(cubic[:, None, None], _cubic(distance), (1 - distance).clamp(min=0))
    inside = (position > start[:, None, None]) & (position < (start + length)[:, None, None])
    weights = weights * inside
    return (weights / weights.sum(-1, keepdim=True)).float()


def _cubic(x: Tensor, a: float = -0.5) -> Tensor:
    """Keys' cubic convolution kernel with PIL's constant."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _shares(indices: Tensor, recipe: Recipe, image_size: int, seed: int, epoch: int) -> Tensor:
    """How much of each pixel stays the sample's own, [B, 1, S, S]: a constant (mixup) or a mask (cutmix).

    Each sample draws its own lambda ~ Beta(alpha, alpha); with both on, one of the two is chosen with p = 1/2.
    """
    both = recipe.mixup > 0 and recipe.cutmix > 0
    cut = uniform(seed, epoch, indices, _SWITCH) < (0.5 if both else float(recipe.cutmix > 0))
    alpha = torch.where(cut, recipe.cutmix or 1.0, recipe.mixup or 1.0).cpu().numpy()
    draws = uniform(seed, epoch, indices, _LAMBDA).cpu().numpy()
    kept = torch.from_numpy(scipy.special.betaincinv(alpha, alpha, draws)).to(indices.device)
    side = (1 - kept).sqrt() * image_size / 2
    pixels = torch.arange(image_size, device=indices.device, dtype=torch.float64) + 0.5
    near = []
    for slot in (_BOX_Y, _BOX_X):
        centre = uniform(seed, epoch, indices, slot) * image_size
        near.append((pixels - centre[:, None]).abs() < side[:, None])  # [B, S]
    box = near[0][:, :, None] & near[1][:, None, :]
    constant = kept[:, None, None].expand_as(box)
    return torch.where(cut[:, None, None], (~box).double(), constant)[:, None]

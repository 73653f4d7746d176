"""From decoded images to the batches that are trained on and scored."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from pat.config import Recipe
from pat.counter import uniform
from pat.data import Labelled, Pixels, Source
from pat.data.files import drafted
from pat.views import slots
from pat.views.batch import Normalise, Share, Views, columns, levels, normalised, smooth_targets
from pat.views.colour_jitter import colour_jitter
from pat.views.crop import crop_boxes, resized_crop, resized_middle
from pat.views.erasing import random_erasing
from pat.views.mix import mix
from pat.views.randaugment import fill_colour, rand_augment
from pat.views.reference import reference_views


def train_views(
    split: Labelled,
    batches: Tensor,
    recipe: Recipe,
    image_size: int,
    num_classes: int,
    normalise: Normalise,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    first: int = 0,
) -> Iterator[Views]:
    """The views of one epoch of global `batches` [steps, B], from that of number `first` on, in timm's order; each
    worker gets its slice of each.

    Crop, resize and flip; RandAugment or colour jitter; mixup or cutmix; all on 8-bit levels, then normalisation and
    random erasing. Of all these only mixing looks at other samples: its partners, and in "batch" mode its draws, are
    functions of (seed, epoch, step) and of the global batch. So no view depends on the number of workers.

    Raises ConfigError for an image file that cannot be read.
    """
    mixes = recipe.mixup > 0 or recipe.cutmix > 0
    share = Share.of(batches.shape[1], rank, world, mixes)
    if recipe.views == "timm":
        yield from reference_views(
            split, batches, share, recipe, image_size, num_classes, normalise, seed, epoch, first
        )
        return
    needed = batches[first:, share.first : share.last].cpu()  # what is drawn for an index there waits for no device
    device, fill = split.device, fill_colour(normalise[0])
    mean, std = columns(normalise, device)
    partners, on_device = share.partners().to(device), needed.to(device)
    stream = drafted(split, recipe.draft).stream(on_device.unbind())
    for step, (places, indices, pixels) in enumerate(zip(needed, on_device, stream, strict=True), start=first):
        images = _crops(pixels, indices, recipe, image_size, seed, epoch)
        if recipe.auto_augment:
            images = rand_augment(images, places, recipe.auto_augment, fill, recipe.interpolation, seed, epoch)
        elif recipe.color_jitter:
            images = colour_jitter(images, places, recipe.color_jitter, seed, epoch)
        targets = smooth_targets(split.labels[indices], num_classes, recipe.label_smoothing)
        if mixes:
            keys = torch.tensor([step]) if recipe.mixup_mode == "batch" else places
            images, targets = mix(images, targets, partners, keys, recipe, seed, epoch)
        ready = normalised(images[share.own], mean, std)
        if recipe.random_erasing:
            ready = random_erasing(ready, places[share.own], recipe.random_erasing, seed, epoch)
        yield Views(indices[share.own], ready.contiguous(memory_format=torch.channels_last), targets[share.own])


def plain_views(
    split: Source,
    batches: Tensor,
    recipe: Recipe,
    image_size: int,
    normalise: Normalise,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    first: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Indices and images of `train_views`, of any images and without labels: crop, resize, flip and colour jitter."""
    share = Share.of(batches.shape[1], rank, world, mixes=False)
    needed, device = batches[first:, share.start : share.stop].cpu(), split.device
    mean, std = columns(normalise, device)
    on_device = needed.to(device)
    for places, indices, pixels in zip(needed, on_device, split.stream(on_device.unbind()), strict=True):
        images = _crops(pixels.colours(), indices, recipe, image_size, seed, epoch)
        images = colour_jitter(images, places, recipe.color_jitter, seed, epoch)
        yield indices, normalised(images, mean, std).contiguous(memory_format=torch.channels_last)


def eval_batch(pixels: Pixels, image_size: int, crop_pct: float = 1.0, cubic: bool = True) -> Tensor:
    """float32 [B, 3, S, S] in [0, 1]: the middle of each image, as timm evaluates.

    The shorter side is resized to floor(S / crop_pct) pixels, with PIL's bicubic (or bilinear) kernel; then the
    middle S x S pixels are cut out.
    """
    return levels(middles_of(pixels, image_size, crop_pct, cubic))


def middles_of(pixels: Pixels, image_size: int, crop_pct: float, cubic: bool) -> Tensor:
    """The same as 8-bit levels: uint8 [B, 3, S, S]."""
    short = math.floor(image_size / crop_pct)
    device = pixels.heights.device
    out = torch.empty(len(pixels.heights), 3, image_size, image_size, dtype=torch.uint8, device=device)
    for places, images in pixels.blocks:
        if images.shape[2:] == (short, short) == (image_size, image_size) and not pixels.padded:
            out[places] = images  # each pixel would be resampled from itself alone
            continue
        heights, widths = pixels.heights[places], pixels.widths[places]
        out[places] = resized_middle(images, heights, widths, short, cubic, image_size)
    return out


def _crops(pixels: Pixels, indices: Tensor, recipe: Recipe, image_size: int, seed: int, epoch: int) -> Tensor:
    """Random resized crop and flip of the samples `indices`: uint8 [B, 3, S, S]."""
    boxes = crop_boxes(indices, pixels.heights, pixels.widths, recipe, seed, epoch)
    share = {"bilinear": 0.0, "bicubic": 1.0, "random": 0.5}[recipe.interpolation]
    drawn = uniform(seed, epoch, indices[:, None], slots.several(slots.FLIP, 2, indices.device))
    flip, cubic = drawn[:, 0] < recipe.flip, drawn[:, 1] < share
    out = torch.empty(len(indices), 3, image_size, image_size, dtype=torch.uint8, device=indices.device)
    for places, images in pixels.blocks:
        top, left, height, width = (edge[places] for edge in boxes)
        out[places] = resized_crop(images, (top, left, height, width), flip[places], cubic[places], image_size)
    return out

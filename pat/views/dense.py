"""Views of whole images with their boxes or masks: resized, cut, flipped, and padded to the canvas of their batch.

An image's view is a function of (seed, epoch, index): each is resized alone, in products of its own size. Only how
much padding it gets depends on the other images of its global batch. Pixels are those of PIL's resize to within
rounding; masks are PIL's NEAREST exactly: pixel i is the source's pixel in which (i + 1/2) * source / full lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pat.config import Recipe
from pat.counter import hash64
from pat.data import VOID, BoxSplit, BoxTargets, MaskSplit, MaskTargets
from pat.views import slots
from pat.views.batch import Normalise, Share, Views, columns, normalised
from pat.views.colour_jitter import colour_jitter
from pat.views.crop import kernel_weights, resample
from pat.views.placing import Placing, canvas, eval_placing, train_placing

DenseSplit = BoxSplit | MaskSplit


class Shown(NamedTuple):
    """A batch for scoring: indices int64 [b], images float32 [b, 3, H, W] normalised, and their sizes int64 [b, 2].

    An image of the size (height, width) is at the top left of the canvas; the rest is padding, 0.
    """

    indices: Tensor
    images: Tensor
    sizes: Tensor


def dense_views(
    split: DenseSplit,
    batches: Tensor,
    recipe: Recipe,
    image_size: int,
    longest: int,
    crop: int,
    normalise: Normalise,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Views]:
    """The views of one epoch of global `batches` [steps, B]; each worker gets its slice of each.

    Resize (`train_placing`), a random cut of `crop` pixels (0: none; masks alone can be cut), flip, colour jitter,
    normalisation. Padding is 0 then, and VOID in masks. All workers have one canvas: the smallest multiple of 32 that
    holds every image of the global batch, or `crop` pixels. Targets are BoxTargets, without crowds, or MaskTargets.

    Raises ConfigError for an image file that cannot be read.
    """
    share = Share.of(batches.shape[1], rank, world, mixes=False)
    own, batches, device = slice(share.start, share.stop), batches.cpu(), split.device
    mean, std = columns(normalise, device)
    for batch, pixels in zip(batches, split.stream(batches[:, own].unbind()), strict=True):
        everyone = train_placing(split.sizes[batch], batch, recipe, image_size, longest, crop, seed, epoch)
        extent = canvas(torch.tensor([[crop, crop]]) if crop else everyone.size)
        indices, placing = batch[own], everyone.rows(own)
        pictures = pixels.pictures(placing.source)

        def finish(view: Tensor, place: int, indices: Tensor = indices) -> Tensor:
            jittered = colour_jitter(view, indices[place, None], recipe.color_jitter, seed, epoch)
            return normalised(jittered, mean, std)

        images, sizes = _on_canvas(pictures, placing, extent, finish), placing.size.to(device, non_blocking=True)
        if isinstance(split, MaskSplit):
            targets: BoxTargets | MaskTargets = MaskTargets(_masks_on_canvas(pictures, placing, extent), sizes)
        else:
            targets = _box_targets(split, indices, placing, hash64(seed, epoch, indices, slots.SAMPLES))
        yield Views(indices.to(device, non_blocking=True), images, targets)


def dense_eval(
    split: DenseSplit,
    image_size: int,
    longest: int,
    normalise: Normalise,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Shown]:
    """All images for scoring: the shorter side `image_size` pixels, the longer at most `longest` (0: no limit).

    Images of the same size, or nearly, come in one batch, so that little is padding; workers take every world-th
    batch. What is shown, and in which batch, is a function of the split and of `batch_size` alone. The kernel is
    bilinear.

    Raises ConfigError for an image file that cannot be read.
    """
    for shown, _ in _shown(split, image_size, longest, normalise, batch_size, rank, world):
        yield shown


def mask_eval(
    split: MaskSplit,
    image_size: int,
    longest: int,
    normalise: Normalise,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
) -> Iterator[tuple[Shown, list[Tensor]]]:
    """As `dense_eval`, with each image's mask: uint8 [h, w] of classes and VOID, in the pixels of its file."""
    for shown, pictures in _shown(split, image_size, longest, normalise, batch_size, rank, world):
        yield shown, [picture[3] for picture in pictures]


def _shown(
    split: DenseSplit, image_size: int, longest: int, normalise: Normalise, batch_size: int, rank: int, world: int
) -> Iterator[tuple[Shown, list[Tensor]]]:
    mean, std = columns(normalise, split.device)
    everyone = eval_placing(split.sizes, image_size, longest)
    height, width = everyone.full.unbind(1)
    order = width.argsort(stable=True)
    order = order[height[order].argsort(stable=True)]
    batches = order.split(batch_size)[rank::world]
    for indices, pixels in zip(batches, split.stream(batches), strict=True):
        placing = everyone.rows(indices)
        pictures = pixels.pictures(placing.source)
        images = _on_canvas(pictures, placing, canvas(placing.size), lambda view, _: normalised(view, mean, std))
        indices, sizes = (values.to(split.device, non_blocking=True) for values in (indices, placing.size))
        yield Shown(indices, images, sizes), pictures


def _on_canvas(
    pictures: list[Tensor], placing: Placing, extent: tuple[int, int], finish: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """Images float32 [b, 3, H, W], channels last, from `pictures` uint8 [C, h, w]; `finish` makes of each view, uint8
    [1, 3, h, w], and its number in the batch what is shown of it."""
    images = torch.zeros(len(pictures), 3, *extent, device=pictures[0].device).to(memory_format=torch.channels_last)
    for place, picture in enumerate(pictures):
        vertical, horizontal = (_weights(placing, place, axis, picture.device) for axis in (0, 1))
        view = resample(picture[None, :3], vertical, horizontal)
        images[place, :, : view.shape[2], : view.shape[3]] = finish(view, place)[0]
    return images


def _weights(placing: Placing, place: int, axis: int, device: torch.device) -> Tensor:
    """What each pixel of a view reads along an axis (0: down): weights [1, size, source]."""
    full, source = int(placing.full[place, axis]), int(placing.source[place, axis])
    numbers = torch.tensor([0.0, source / full, source], dtype=torch.float64).to(device, non_blocking=True)
    start, scale, end = numbers[:, None]
    cubic = placing.cubic[place, None].to(device, non_blocking=True)
    weights = kernel_weights(full, source, start, scale, (start, end), cubic)
    return weights[:, _seen(placing, place, axis).to(device, non_blocking=True)]


def _masks_on_canvas(pictures: list[Tensor], placing: Placing, extent: tuple[int, int]) -> Tensor:
    """Masks int64 [b, H, W] from the fourth channels."""
    device = pictures[0].device
    masks = torch.full((len(pictures), *extent), VOID, dtype=torch.int64, device=device)
    for place, picture in enumerate(pictures):
        rows, columns = (_nearest(placing, place, axis).to(device, non_blocking=True) for axis in (0, 1))
        masks[place, : len(rows), : len(columns)] = picture[3][rows][:, columns]
    return masks


def _nearest(placing: Placing, place: int, axis: int) -> Tensor:
    """The source's pixel for each pixel of a view along an axis: int64 [size]. PIL adds the steps up, and so do we."""
    full, source = int(placing.full[place, axis]), int(placing.source[place, axis])
    steps = torch.full((full,), source / full, dtype=torch.float64)
    steps[0] /= 2
    return steps.cumsum(0).long().clamp(max=source - 1)[_seen(placing, place, axis)]


def _seen(placing: Placing, place: int, axis: int) -> Tensor:
    """Which pixels of the resized image a view shows along an axis, in its order: int64 [size]."""
    first = int(placing.corner[place, axis])
    seen = torch.arange(first, first + int(placing.size[place, axis]))
    return seen.flip(0) if axis and placing.flip[place] else seen


def _box_targets(split: BoxSplit, indices: Tensor, placing: Placing, keys: Tensor) -> BoxTargets:
    chosen = split.boxes.take(indices)
    chosen = chosen.only(~chosen.crowd)
    boxes, labels, sizes, keys = (
        values.to(split.device, non_blocking=True)
        for values in (placing.boxes(chosen.boxes, chosen.images), chosen.labels, placing.size, keys)
    )
    return BoxTargets(boxes, labels, tuple(chosen.counts.tolist()), sizes, keys)

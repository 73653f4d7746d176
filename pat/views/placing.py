"""How large an image is shown and where it comes to lie: known before it is decoded."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pat.config import Recipe
from pat.counter import uniform
from pat.views import slots

STRIDE = 32
"""A canvas is a multiple of this many pixels high and wide: the stride of a backbone's last stage."""


class Placing(NamedTuple):
    """Of B images, on the CPU: int64 [B, 2] in pixels, always (height, width) or (top, left).

    An image of the size `source` is resized to `full`, cut to the `size` that begins at `corner`, and turned left to
    right where `flip` bool [B]. `cubic` bool [B] is the kernel, else bilinear.
    """

    source: Tensor
    full: Tensor
    corner: Tensor
    size: Tensor
    flip: Tensor
    cubic: Tensor

    def rows(self, rows: slice | Tensor) -> Placing:
        """Of these images alone."""
        return Placing(*(values[rows] for values in self))

    def boxes(self, boxes: Tensor, images: Tensor) -> Tensor:
        """Boxes float32 [M, 4] in pixels of the source, of the `images` int64 [M], in pixels of the canvas.

        They are scaled with their image's own sides, which are whole pixels. Only for images that are not cut.
        """
        scale = (self.full.double() / self.source)[images].flip(1).repeat(1, 2)  # x, y, x, y
        left, top, right, bottom = (boxes * scale).unbind(1)
        width, flip = self.full[images, 1], self.flip[images]
        edges = [torch.where(flip, width - right, left), top, torch.where(flip, width - left, right), bottom]
        return torch.stack(edges, 1).float()


def resized(sizes: Tensor, short: Tensor, longest: int) -> Tensor:
    """Height and width int64 [N, 2] of images of the `sizes` [N, 2] once their shorter side is `short` [N] pixels.

    Where the longer side would exceed `longest` (0: no limit), it decides. The rule and the rounding, half a pixel
    up, are detectron2's (ResizeShortestEdge); torchvision's detectors have the same rule and round down.
    """
    exact = sizes * (short.double() / sizes.amin(1))[:, None]
    exact = torch.where(sizes == sizes.amin(1, keepdim=True), short.double()[:, None], exact)
    if longest:
        long = exact.amax(1, keepdim=True)
        exact = torch.where(long > longest, exact * (torch.full_like(long, longest) / long), exact)
    return (exact + 0.5).floor().long().clamp(min=1)


def train_placing(
    sizes: Tensor, indices: Tensor, recipe: Recipe, image_size: int, longest: int, crop: int, seed: int, epoch: int
) -> Placing:
    """The placing of the images `indices` [B], whose `sizes` [B, 2] are given: a function of (seed, epoch, index).

    The shorter side is one of `recipe.sizes` (or `image_size`) times a factor uniform in `recipe.scale`, as in
    detectron2's and MMSegmentation's jitter of the scale; then a random part of at most `crop` pixels (0: all) is
    cut out of the resized image.
    """
    lengths = torch.tensor(recipe.sizes or (image_size,))
    low, high = recipe.scale
    factor = low + (high - low) * uniform(seed, epoch, indices, slots.FACTOR)
    short = lengths[(uniform(seed, epoch, indices, slots.SIZE) * len(lengths)).long()] * factor
    full = resized(sizes, short, longest)
    size = full.clamp(max=crop) if crop else full
    draws = torch.stack([uniform(seed, epoch, indices, slot) for slot in (slots.TOP, slots.LEFT)], 1)
    share = {"bilinear": 0.0, "bicubic": 1.0, "random": 0.5}[recipe.interpolation]
    return Placing(
        source=sizes,
        full=full,
        corner=(draws * (full - size + 1)).long(),
        size=size,
        flip=uniform(seed, epoch, indices, slots.FLIP) < recipe.flip,
        cubic=uniform(seed, epoch, indices, slots.KERNEL) < share,
    )


def eval_placing(sizes: Tensor, image_size: int, longest: int) -> Placing:
    """The placing for scoring: the shorter side `image_size` pixels, bilinear, whole and not turned."""
    full = resized(sizes, torch.full((len(sizes),), image_size), longest)
    no = torch.zeros(len(sizes), dtype=torch.bool)
    return Placing(sizes, full, torch.zeros_like(full), full, no, no)


def canvas(sizes: Tensor) -> tuple[int, int]:
    """Height and width of the smallest canvas that holds images of the `sizes` [B, 2]."""
    height, width = ((sizes.amax(0) + STRIDE - 1) // STRIDE * STRIDE).tolist()
    return height, width

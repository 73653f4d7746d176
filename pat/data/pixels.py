"""The images of one batch, whatever their sizes: they travel in two tensors and are resized in a few products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

STEP = 128
"""Images are padded to multiples of this many pixels.

So the size in which an image is computed depends on the image alone, never on its neighbours: a product over more
columns adds in another order, and its last bits differ.
"""
_BLOCK_BYTES = 1 << 26
"""Larger blocks are cut, so that a batch of photographs does not become one product of many gigabytes."""


class Pixels(NamedTuple):
    """The images of a batch in the order of its indices.

    `blocks` are (places in the batch int64 [n], images uint8 [n, C, H, W]), each image at the top left of its H x W
    pixels; every place occurs once. `heights`, `widths` int64 [B] are the images' own. C is 3, or 4 where the fourth
    channel is an image's mask. `padded`: whether images may be smaller than their H x W.
    """

    blocks: list[tuple[Tensor, Tensor]]
    heights: Tensor
    widths: Tensor
    padded: bool = True

    @classmethod
    def of(cls, images: Tensor) -> Pixels:
        """uint8 [B, C, H, W], all of one size and not padded."""
        count, _, height, width = images.shape
        place = torch.arange(count, device=images.device)
        return cls([(place, images)], torch.full_like(place, height), torch.full_like(place, width), padded=False)

    def colours(self) -> Pixels:
        """The same without masks."""
        return self._replace(blocks=[(places, images[:, :3]) for places, images in self.blocks])

    def pictures(self, sizes: Tensor) -> list[Tensor]:
        """Each image of a batch from files, uint8 [C, h, w], without padding.

        `sizes` [B, 2], on the CPU, are known already, so that nothing waits for the device.
        """
        layout = _layout(sizes, self.blocks[0][1].shape[1])
        found: dict[int, Tensor] = {}
        for (places, *_), (_, images) in zip(layout, self.blocks, strict=True):
            for place, image in zip(places.tolist(), images, strict=True):
                height, width = sizes[place].tolist()
                found[place] = image[:, :height, :width]
        return [found[place] for place in range(len(sizes))]


class Packed(NamedTuple):
    """`Pixels` on the way from the process that decoded it: all blocks in one line of bytes, and the sizes [B, 2]."""

    line: Tensor
    sizes: Tensor
    channels: int


def pack(pictures: Sequence[Tensor]) -> Packed:
    """Pictures uint8 [h, w, C], as decoders give them; C is the same for all."""
    sizes, channels = torch.tensor([picture.shape[:2] for picture in pictures]), pictures[0].shape[2]
    layout = _layout(sizes, channels)
    pixels = sum(len(places) * height * width for places, height, width in layout)
    line = torch.zeros(pixels * channels, dtype=torch.uint8)
    for (places, *_), block in zip(layout, _cut(line, layout, channels), strict=True):
        for place, target in zip(places.tolist(), block, strict=True):
            height, width, _ = pictures[place].shape
            target[:height, :width] = pictures[place]
    return Packed(line, sizes, channels)


def unpack(packed: Packed, device: torch.device) -> Pixels:
    """The batch on `device`."""
    layout = _layout(packed.sizes, packed.channels)
    order = torch.cat([places for places, _, _ in layout]).to(device, non_blocking=True)
    places = order.split([len(places) for places, _, _ in layout])
    line = packed.line.to(device, non_blocking=True)
    images = [block.permute(0, 3, 1, 2).contiguous() for block in _cut(line, layout, packed.channels)]
    heights, widths = packed.sizes.to(device, non_blocking=True).unbind(1)
    return Pixels(list(zip(places, images, strict=True)), heights, widths)


_Layout = list[tuple[Tensor, int, int]]


def _layout(sizes: Tensor, channels: int) -> _Layout:
    """Places, padded height and padded width of each block, from the sizes [B, 2] alone."""
    padded = (sizes + STEP - 1).div(STEP, rounding_mode="floor") * STEP
    layout = []
    for height, width in sorted({(height, width) for height, width in padded.tolist()}):
        places = torch.nonzero((padded[:, 0] == height) & (padded[:, 1] == width)).flatten()
        layout += [(part, height, width) for part in places.split(max(1, _BLOCK_BYTES // (height * width * channels)))]
    return layout


def _cut(line: Tensor, layout: _Layout, channels: int) -> list[Tensor]:
    """The blocks [n, H, W, C] in a line of bytes."""
    shapes = [(len(places), height, width, channels) for places, height, width in layout]
    parts = line.split([n * height * width * channels for n, height, width, _ in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

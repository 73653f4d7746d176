"""The images that are scored, made once for each part of a data set where they fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pat.data import Source, Split
from pat.data.beside import beside
from pat.views.batch import levels
from pat.views.pipeline import middles_of

HELD_BYTES = 1 << 28
"""Of each part and way to make them: more are made anew each time."""
BATCH = 256
"""Images that are made at a time where all are kept."""


def middles(
    split: Source, batches: Sequence[Tensor], image_size: int, crop_pct: float, cubic: bool
) -> Iterator[Tensor]:
    """Of each of the `batches` of indices the images of `pipeline.eval_batch`, float32 [B, 3, S, S] in [0, 1].

    They are the same bits each time, so those that are resampled or decoded are kept as their 8-bit levels.
    Raises ConfigError for an image file that cannot be read.
    """

    def made(batches: Sequence[Tensor]) -> Iterator[Tensor]:
        for pixels in split.stream(batches):
            yield middles_of(pixels.colours(), image_size, crop_pct, cubic)

    if len(split) * 3 * image_size**2 > HELD_BYTES or _as_they_are(split, image_size, crop_pct):
        yield from map(levels, made(batches))
        return

    def make() -> Tensor:
        everything = torch.arange(len(split), device=split.device).split(BATCH)
        return torch.cat(list(made(everything)))

    kept = beside(split, (image_size, crop_pct, cubic), make)
    for batch in batches:
        yield levels(kept[batch])


def _as_they_are(split: Source, image_size: int, crop_pct: float) -> bool:
    """Whether nothing is resampled, of images that are in memory."""
    sizes = tuple(split.images.shape[2:]) if isinstance(split, Split) else ()
    return crop_pct == 1 and sizes == (image_size, image_size)

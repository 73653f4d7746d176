"""Grey images of more than 8 bits - medical, industrial, depth: their levels are scaled, or the image is refused."""

from __future__ import annotations

import numpy as np
from PIL import Image

_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
"""Tags of TIFF, and a value of the second."""


def eight_bits(image: Image.Image) -> Image.Image:
    """The image itself where it has 8 bits, else its 8 highest as a grey image.

    Pillow's own conversion clips what is above 255. It has scaled PGM to 16 bits; PNG has as many, TIFF says it. Raises
    ValueError for 32 bits and for floating point numbers, whose black and white are written nowhere.
    """
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if image.mode in ("I", "F") and not deep:
        raise ValueError(f"{image.format} of Pillow's mode {image.mode} has no known white: 8 or 16 bits are needed")
    if not deep:
        return image
    tags = getattr(image, "tag_v2", {})
    bits = tags[_BITS][0] if _BITS in tags else 16
    levels = np.array(image).astype(np.int64) >> (bits - 8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        levels = 255 - levels
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))

"""Small image folders: three classes of plain colours with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"ant": (200, 40, 40), "bee": (40, 200, 40), "cat": (40, 40, 200)}


def picture(label: str, number: int, side: int = 32) -> Image.Image:
    noise = np.random.default_rng([*label.encode(), number]).integers(-30, 30, (side, side, 3))
    return Image.fromarray(np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype("uint8"))


def make(root: Path, parts: dict[str, int], suffix: str = "png") -> Path:
    """PART/<class>/<number> with so many images in each class of each part."""
    for place, (part, count) in enumerate(parts.items()):
        for label in COLOURS:
            (root / part / label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                picture(label, number + 500 * place).save(root / part / label / f"{number:03d}.{suffix}")
    return root

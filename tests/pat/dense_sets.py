"""Small folders of images with boxes or masks, made in seconds: for the tests of their readers and views."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
"""Real data beside the checkout, where there is some."""
SIZES = [(30, 44), (90, 61), (44, 30), (31, 100), (64, 64), (70, 40), (50, 80), (33, 48), (130, 129), (40, 57)]
"""Height and width of each image of a part."""
CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 90, "name": "cow"}]
"""Neither in order nor without gaps, as in COCO."""


def pixels(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def annotations(seed: int = 0) -> dict[str, Any]:
    """An image each of SIZES, ids from 100: 0 to 4 boxes, some over the border; image 101 has none, 102 only a crowd.

    Image 103 has a crowd beside its boxes. Boxes are not in the order of the images.
    """
    random = np.random.default_rng(seed)
    images = [{"id": 100 + i, "file_name": f"{i}.png", "height": h, "width": w} for i, (h, w) in enumerate(SIZES)]
    found = []
    for i, (height, width) in enumerate(SIZES):
        for crowd in [1] if i == 2 else [] if i == 1 else [0] * (1 + i % 4) + [1] * (i == 3):
            left, top = random.uniform(-3, width - 8), random.uniform(-3, height - 8)
            box = [round(float(v), 2) for v in (left, top, random.uniform(5, width), random.uniform(5, height))]
            category = int(random.choice([3, 7, 90]))
            found.append({"image_id": 100 + i, "category_id": category, "bbox": box, "iscrowd": crowd})
    order = random.permutation(len(found))
    chosen = [found[i] | {"id": 1000 + number, "area": 12.5} for number, i in enumerate(order)]
    return {"images": images, "annotations": chosen, "categories": CATEGORIES}


def box_folder(path: Path, names: tuple[str, str] = ("train", "val")) -> Path:
    """A folder of the COCO layout."""
    for seed, name in enumerate(names):
        (path / name).mkdir(parents=True)
        for i, (height, width) in enumerate(SIZES):
            Image.fromarray(pixels(height, width, 10 * seed + i)).save(path / name / f"{i}.png")
        write(path, name, annotations(seed))
    return path


def write(path: Path, name: str, content: Any) -> None:
    (path / "annotations").mkdir(exist_ok=True)
    (path / "annotations" / f"instances_{name}.json").write_text(json.dumps(content))


def read(path: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "annotations" / f"instances_{name}.json").read_text())
    return found


def mask_of(height: int, width: int, seed: int, classes: int = 5) -> np.ndarray:
    """Blocks of 5 x 7 pixels of one class; a few are void, 255."""
    random = np.random.default_rng(seed + 100)
    blocks = random.integers(0, classes, (-(-height // 5), -(-width // 7)), dtype=np.uint8)
    blocks[random.random(blocks.shape) < 0.1] = 255
    blocks[0, 0] = classes - 1
    return blocks.repeat(5, 0).repeat(7, 1)[:height, :width]


def mask_folder(path: Path) -> Path:
    """DATA/{images,masks}/{train,val}: JPEG-free, so that pixels are known; masks are grey or have a palette."""
    for seed, part in enumerate(("train", "val")):
        for kind in ("images", "masks"):
            (path / kind / part / "town").mkdir(parents=True)
        for i, (height, width) in enumerate(SIZES):
            name, number = ("town/" if i % 3 == 0 else "") + str(i), 10 * seed + i
            Image.fromarray(pixels(height, width, number)).save(path / "images" / part / f"{name}.bmp")
            mask = Image.fromarray(mask_of(height, width, number))
            if i % 2:
                mask.putpalette([*range(256)] * 3)
            mask.save(path / "masks" / part / f"{name}.png")
    return path


def shortest_edge(height: int, width: int, short: int, longest: int) -> tuple[int, int]:
    """detectron2's ResizeShortestEdge.get_output_shape, word for word."""
    size = short * 1.0
    scale = size / min(height, width)
    new_height, new_width = (size, scale * width) if height < width else (scale * height, size)
    if max(new_height, new_width) > longest:
        scale = longest * 1.0 / max(new_height, new_width)
        new_height, new_width = new_height * scale, new_width * scale
    return int(new_height + 0.5), int(new_width + 0.5)

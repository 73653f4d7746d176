"""From JPEG files to views: ours, timm's loader and torchvision's, each in one process on one thread.

Where there is a GPU, ours are resampled there and a core decodes alone: "decoded". Without one a core does all.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.constants import IMAGENET_DEFAULT_MEAN as MEAN
from timm.data.constants import IMAGENET_DEFAULT_STD as STD
from torch import Tensor
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2

from pat.data import Pixels
from pat.data.files import Files, drafted
from pat.data.part import FileSplit
from pat.views import train_views
from tests.bench.clock import interleaved, spread
from tests.bench.compare import Tolerance
from tests.bench.views import CNN

COUNT, ROUNDS, SIZE, CLASSES = 16, 5, 224, 100
SHAPES = {"as ImageNet's, 500 x 375": (500, 375), "of a camera, 2000 x 1500": (2000, 1500)}
TOLERANCE = Tolerance(0.25)
"""As for views: another instruction set moves torch's part and not libjpeg's."""


def report() -> dict[str, float]:
    """Prints images a second a core and gives the times over timm's, medians over rounds."""
    torch.set_num_threads(1)
    ratios = {}
    print(f"JPEG files to views of {SIZE} px, {COUNT} images, 1 thread, CPU time, median of {ROUNDS} rounds")
    for name, (width, height) in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            paths = photographs(Path(folder), width, height)
            ways: dict[str, Callable[[], Any]] = {"ours": ours(paths, 0), "drafted": ours(paths, SIZE)}
            ways |= {"decoded": decoded(paths, 0), "drafted, decoded": decoded(paths, SIZE)}
            times = interleaved({**ways, "timm": timms(paths), "torchvision": torchvisions(paths)}, ROUNDS)
        print(f"{name}: " + ", ".join(f"{way} {COUNT / median(took):.0f} img/s" for way, took in times.items()))
        for way, own in times.items():
            if way != "timm":
                over = [one / other for one, other in zip(own, times["timm"], strict=True)]
                print(f"  {way} / timm: {spread(over)}")
                ratios[f"{name}/{way} over timm"] = median(over)
    return ratios


def photographs(folder: Path, width: int, height: int) -> list[Path]:
    """JPEG files with structure at several scales and some noise, about as large as a camera's."""
    drawn, paths = np.random.default_rng(0), []
    for number in range(COUNT):
        image = np.zeros((height, width, 3))
        for cells in (4, 16, 64):
            coarse = drawn.integers(0, 256, (cells, cells, 3)).astype("uint8")
            image += np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), float) / 3
        image += drawn.normal(0, 6, image.shape)
        file = io.BytesIO()
        Image.fromarray(image.clip(0, 255).astype("uint8")).save(file, "JPEG", quality=90)
        paths.append(folder / f"{number:03d}.jpg")
        paths[-1].write_bytes(file.getvalue())
    return paths


def files(paths: list[Path]) -> FileSplit:
    pictures = Files.of(paths[0].parent, [path.name for path in paths])
    return FileSplit(pictures=pictures, rows=torch.arange(COUNT), workers=0, labels=torch.arange(COUNT) % CLASSES)


def ours(paths: list[Path], draft: int) -> Callable[[], Tensor]:
    split, recipe, order = files(paths), replace(CNN, draft=draft), torch.arange(COUNT)[None]
    return lambda: next(train_views(split, order, recipe, SIZE, CLASSES, (MEAN, STD), seed=0, epoch=0)).images


def decoded(paths: list[Path], draft: int) -> Callable[[], Pixels]:
    split = drafted(files(paths), draft)
    return lambda: next(split.stream([torch.arange(COUNT)]))


def timms(paths: list[Path]) -> Callable[[], Tensor]:
    transform = create_transform(
        SIZE, is_training=True, scale=CNN.crop_scale, ratio=CNN.crop_ratio, hflip=CNN.flip, color_jitter=None,
        interpolation=CNN.interpolation,
    )  # fmt: skip
    return lambda: torch.stack([transform(default_loader(str(path))) for path in paths])


def torchvisions(paths: list[Path]) -> Callable[[], Tensor]:
    steps = [
        v2.RandomResizedCrop(SIZE, CNN.crop_scale, CNN.crop_ratio, antialias=True),
        v2.RandomHorizontalFlip(CNN.flip),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]
    transform = v2.Compose(steps)
    return lambda: torch.stack([transform(default_loader(str(path))) for path in paths])

"""The batched views against timm's own transforms on PIL images, from CIFAR's 32 px to 224 px."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.constants import IMAGENET_DEFAULT_MEAN as MEAN
from timm.data.constants import IMAGENET_DEFAULT_STD as STD
from timm.data.mixup import FastCollateMixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from pat.config import Recipe
from pat.data import Split
from pat.views import train_views
from pat.views.batch import columns, normalised
from tests.bench.clock import interleaved, spread
from tests.bench.compare import Tolerance

BATCH, ROUNDS, SIZE, CLASSES = 128, 25, 224, 100
TOLERANCE = Tolerance(0.25)
"""timm's are Pillow's, ours torch's: -9 % from AVX-512 to AVX2; medians of busy runs differed by 3 %."""

CNN = Recipe(
    epochs=1,
    batch_size=BATCH,
    lr=0.1,
    label_smoothing=0.1,
    crop_scale=(0.08, 1.0),
    crop_ratio=(0.75, 4 / 3),
    flip=0.5,
    interpolation="random",
)
VIT = dataclasses.replace(CNN, auto_augment="rand-m9-mstd0.5-inc1", random_erasing=0.25, mixup=0.8, cutmix=1.0)
RECIPES = {"CNN": CNN, "ViT / MLP": VIT}


def report(count: int = BATCH) -> dict[str, float]:
    """Prints images per second and gives timm's rate over ours, the median over rounds of the same views."""
    torch.set_num_threads(1)
    images, labels = pictures(count), torch.arange(count) % CLASSES
    print(f"views, 32 -> {SIZE} px, batch {count}, 1 thread, CPU time, median (min - max) of {ROUNDS} rounds")
    print("                     timm        batched     batched / timm")
    ratios = {}
    for name, recipe in RECIPES.items():
        times = interleaved(
            {"timm": timm_views(images, labels, recipe), "batched": batched_views(images, labels, recipe)}, ROUNDS
        )
        faster = [theirs / ours for theirs, ours in zip(times["timm"], times["batched"], strict=True)]
        rates = (f"{count / median(each):5.0f} img/s" for each in times.values())
        print(f"{name:18} {'  '.join(rates)}   {spread(faster)}")
        ratios[f"{name}/batched over timm"] = 1 / median(faster)
    return ratios


def pictures(count: int) -> Tensor:
    """uint8 [count, 3, 32, 32] with structure at two scales."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    image = torch.nn.functional.interpolate(coarse, (32, 32), mode="bicubic").clamp(0, 1) * 235
    return (image + torch.rand(count, 3, 32, 32, generator=generator) * 20).to(torch.uint8)


def batched_views(images: Tensor, labels: Tensor, recipe: Recipe) -> Callable[[], Tensor]:
    """Ours: a function that gives normalised float32 [B, 3, S, S], each time the same."""
    split, batches = Split(images, labels), torch.arange(len(images))[None]

    def views() -> Tensor:
        return next(train_views(split, batches, recipe, SIZE, CLASSES, (MEAN, STD), seed=0, epoch=0)).images

    return views


def posterize(function: Callable[..., Image.Image], image: Image.Image, bits: int, **options: object) -> Image.Image:
    """timm's, with 1 bit for 0, which magnitude 10 means and Pillow 13 refuses; the time is the same."""
    return function(image, max(bits, 1), **options)


def timm_views(images: Tensor, labels: Tensor, recipe: Recipe) -> Callable[[], Tensor]:
    """timm's: its transforms image after image, then what its collate function and prefetcher do to a batch.

    Seeded anew each time: other draws are other work.
    """
    transform = create_transform(
        SIZE,
        is_training=True,
        scale=recipe.crop_scale,
        ratio=recipe.crop_ratio,
        hflip=recipe.flip,
        color_jitter=None,
        auto_augment=recipe.auto_augment or None,
        interpolation=recipe.interpolation,
        use_prefetcher=True,
    )
    for step in transform.transforms:
        for op in getattr(step, "ops", ()):
            if op.name.startswith("Posterize"):
                op.aug_fn = partial(posterize, op.aug_fn)
    collate = FastCollateMixup(recipe.mixup, recipe.cutmix, label_smoothing=0.1, num_classes=CLASSES)
    erase = RandomErasing(recipe.random_erasing, mode="pixel", device="cpu")
    samples = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    mean, std = columns((MEAN, STD), images.device)

    def views() -> Tensor:
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(0)
        out = [transform(sample) for sample in samples]
        mixes = recipe.mixup > 0
        batch = collate(list(zip(out, labels.tolist(), strict=True)))[0] if mixes else torch.stack(out)
        result = normalised(batch, mean, std)
        erased: Tensor = erase(result) if recipe.random_erasing else result
        return erased

    return views

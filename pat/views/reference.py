"""timm's own input, image after image through PIL, as the reference that the batched views are held against."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.mixup import FastCollateMixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from pat.config import Recipe
from pat.counter import hash64
from pat.data import Labelled
from pat.data.ahead import ahead, default_workers
from pat.views.batch import Normalise, Share, Views, columns, normalised, smooth_targets

_TRANSFORM, _MIX, _ERASE = 0x7472616E73, 0x6D6978, 0x6572617365


def reference_views(
    split: Labelled,
    batches: Tensor,
    share: Share,
    recipe: Recipe,
    image_size: int,
    num_classes: int,
    normalise: Normalise,
    seed: int,
    epoch: int,
    first: int = 0,
    workers: int | None = None,
) -> Iterator[Views]:
    """The views of `train_views` made by timm: its transforms, FastCollateMixup and RandomErasing, in its order.

    timm's generators are seeded from (seed, epoch, index), or (seed, epoch, step) for what a batch shares, so a run
    stays reproducible and no view depends on the number of workers or of decoding processes. Those (`workers`,
    by default one a core) decode, transform and mix; normalisation and erasing follow on the device, as with timm's
    prefetcher.
    """
    device = split.device
    mean, std = columns(normalise, device)
    eraser = RandomErasing(recipe.random_erasing, mode="pixel", max_count=1, device=device)
    transform = _transform(recipe, image_size, normalise)
    own = split.to(torch.device("cpu"))
    collate = _Collate(own, batches.cpu(), share, recipe, num_classes, transform, seed, epoch, first)
    made = ahead(
        collate, len(batches) - first, default_workers() if workers is None else workers, device.type == "cuda"
    )
    for batch, (images, targets) in zip(batches[first:], made, strict=True):
        indices = batch[share.start : share.stop]
        views = normalised(images.to(device, non_blocking=True), mean, std)
        if recipe.random_erasing:
            for index, view in zip(indices.tolist(), views, strict=True):
                with _seeded(seed, epoch, index, _ERASE):
                    eraser(view)
        views = views.contiguous(memory_format=torch.channels_last)
        yield Views(indices.to(device), views, targets.to(device, non_blocking=True))


@dataclass(frozen=True)
class _Collate:
    """Decodes, transforms and mixes one step, from `first` on: uint8 [b, 3, S, S] and targets [b, C], on the CPU."""

    split: Labelled
    batches: Tensor
    share: Share
    recipe: Recipe
    num_classes: int
    transform: Callable[[Image.Image], Tensor]
    seed: int
    epoch: int
    first: int

    def __call__(self, number: int) -> tuple[Tensor, Tensor]:
        step = self.first + number
        indices = self.batches[step, self.share.first : self.share.last].tolist()
        views = [self._view(index) for index in indices]
        labels = self.split.labels[indices]
        recipe = self.recipe
        if recipe.mixup == recipe.cutmix == 0:
            return torch.stack(views), smooth_targets(labels, self.num_classes, recipe.label_smoothing)
        samples, partners = list(zip(views, labels.tolist(), strict=True)), self.share.partners().tolist()
        places = range(len(samples))
        if recipe.mixup_mode == "batch":
            first = places[::2]
            order = [*first, *(partners[place] for place in reversed(first))]  # timm mixes with the reversed batch
            images, targets = self._mix([samples[place] for place in order], step)
            own = [order.index(place) for place in places[self.share.own]]
            return images[own], targets[own]
        pairs = [self._mix([samples[i], samples[partners[i]]], indices[i]) for i in places[self.share.own]]
        return torch.stack([mixed[0] for mixed, _ in pairs]), torch.stack([targets[0] for _, targets in pairs])

    def _view(self, index: int) -> Tensor:
        picture = Image.fromarray(self.split.picture(index).contiguous().numpy())
        with _seeded(self.seed, self.epoch, index, _TRANSFORM):
            return self.transform(picture)

    def _mix(self, samples: list[tuple[Tensor, int]], key: int) -> tuple[Tensor, Tensor]:
        """timm's mixing with one lambda: the first sample with the last, the second with the last but one, …"""
        recipe = self.recipe
        mixup = FastCollateMixup(
            recipe.mixup, recipe.cutmix, label_smoothing=recipe.label_smoothing, num_classes=self.num_classes
        )
        with _seeded(self.seed, self.epoch, key, _MIX):
            mixed: tuple[Tensor, Tensor] = mixup(samples)
        return mixed


def _transform(recipe: Recipe, image_size: int, normalise: Normalise) -> Callable[[Image.Image], Tensor]:
    """timm's transforms of one image up to its 8-bit tensor."""
    mean, std = normalise
    transform = create_transform(
        image_size,
        is_training=True,
        scale=recipe.crop_scale,
        ratio=recipe.crop_ratio,
        hflip=recipe.flip,
        color_jitter=recipe.color_jitter or None,
        auto_augment=recipe.auto_augment or None,
        interpolation=recipe.interpolation,
        mean=mean,
        std=std,
        use_prefetcher=True,
    )
    for step in transform.transforms:
        for operation in getattr(step, "ops", ()):
            if operation.name.startswith("Posterize"):
                operation.aug_fn = _Posterize(operation.aug_fn)
    return transform


@dataclass(frozen=True)
class _Posterize:
    """timm's posterize where Pillow 13 raises an error: of no bits nothing is left, as in Pillow before."""

    posterize: Callable[..., Image.Image]

    def __call__(self, image: Image.Image, bits: int, **options: object) -> Image.Image:
        return self.posterize(image, bits, **options) if bits > 0 else image.point(lambda level: 0)


@contextlib.contextmanager
def _seeded(*keys: int) -> Iterator[None]:
    """timm draws from the generators of Python, numpy and torch; here they start from `keys`, then go on as before."""
    seed = int(hash64(*keys)) & 0xFFFFFFFF
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])

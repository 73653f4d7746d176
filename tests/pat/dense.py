"""Small detectors, and batches for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pat.dense.detector import Detector, Samples, Targets
from pat.dense.fpn import create_backbone
from pat.layouts import Size

CANVAS: Size = (64, 96)
CNN, SWIN = "resnet_nano_32", "swin_pico_patch4_window7_224"
SMALL: dict[str, Any] = {"width": 8, "anchors": (8, 16, 32, 64, 128), "regions": 24, "hidden": 16}


@dataclass(frozen=True)
class Truth:
    """What a detector gets to know of a batch."""

    boxes: Tensor
    labels: Tensor
    counts: tuple[int, ...]
    sizes: Tensor
    keys: Tensor


def detector(name: str = CNN, seed: int = 0, **options: Any) -> Detector:
    torch.manual_seed(seed)
    return Detector(create_backbone(name, CANVAS, freeze_norm=True), 5, CANVAS, **{**SMALL, **options})


def images(count: int = 2, canvas: Size = CANVAS, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, *canvas, generator=torch.Generator().manual_seed(seed))


def truth(canvas: Size = CANVAS) -> Truth:
    """Two boxes on the first image, which fills the canvas, and one on the second, which does not."""
    return Truth(
        boxes=torch.tensor([[4.3, 5.1, 30.6, 41.2], [21.4, 9.3, 60.7, 52.9], [8.2, 7.7, 39.1, 44.8]]),
        labels=torch.tensor([1, 3, 5]),
        counts=(2, 1),
        sizes=torch.tensor([canvas, (48, 56)]),
        keys=torch.tensor([7, -8]),
    )


def of_image(whole: Truth, image: int) -> Truth:
    """The truth of one image of a batch."""
    return Truth(
        whole.boxes.split(whole.counts)[image],
        whole.labels.split(whole.counts)[image],
        whole.counts[image : image + 1],
        whole.sizes[image : image + 1],
        whole.keys[image : image + 1],
    )


def levels_of(model: Detector, x: Tensor) -> tuple[Tensor, ...]:
    return model.pyramid(model.taps(x).maps)


def step(model: Detector, x: Tensor, targets: Targets) -> tuple[Samples, dict[str, Tensor]]:
    levels = levels_of(model, x)
    samples = model.sample(levels, targets)
    return samples, model.losses(samples, *model.regions(levels, samples))


NOTHING = Truth(
    torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), (0, 0), torch.tensor([CANVAS, CANVAS]), torch.tensor([1, 2])
)

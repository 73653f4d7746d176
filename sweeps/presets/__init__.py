"""The studies that come with the product: one function each, by name in `PRESETS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pat.config import unknown
from sweeps.presets import classification, detection, pretraining, segmentation
from sweeps.study import Study

DIGITS, CIFAR100 = "digits", "cifar100"

PRESETS: dict[str, Callable[[], Study]] = {
    DIGITS: classification.digits,
    "demo": classification.demo,
    "cifar100-small": classification.cifar100_small,
    "cifar100-small-methods": classification.cifar100_small_methods,
    "cifar100-small-gpu": classification.cifar100_small_gpu,
    CIFAR100: classification.cifar100,
    "cifar100-1024": classification.cifar100_1024,
    "imagenet": classification.imagenet,
    "imagenet-1024": classification.imagenet_1024,
    "coco": detection.coco,
    "coco-small": detection.coco_small,
    "coco-tiny": detection.coco_tiny,
    "voc-seg": segmentation.voc,
    "camvid-small": segmentation.camvid_small,
    "hgkd-imagenet": pretraining.imagenet,
    "hgkd-imagenet-coco": pretraining.coco,
    "hgkd-imagenet-voc": pretraining.voc,
    "hgkd-small": pretraining.small,
}
ON_CPU = (DIGITS, "demo", "cifar100-small", "cifar100-small-methods", "coco-tiny", "camvid-small", "hgkd-small")
"""Studies that a machine without a GPU can finish."""
GPU_PRESETS = tuple(name for name in PRESETS if name not in ON_CPU)
"""Studies that a machine without a GPU does not start."""


def preset(name: str, **changes: Any) -> Study:
    """A study by name, with some of its fields changed. Raises ConfigError with the nearest names."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return replace(PRESETS[name](), **changes)

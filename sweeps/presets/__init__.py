"""The studies that come with the product: one function each, by name in `PRESETS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pat.config import unknown

if TYPE_CHECKING:
    from sweeps.study import Study

DIGITS, CIFAR100 = "digits", "cifar100"


def _later(module: str, function: str) -> Callable[[], Study]:
    """What makes a study, imported when it is to be made: the names alone are wanted sooner."""

    def make() -> Study:
        study: Study = getattr(import_module(f"sweeps.presets.{module}"), function)()
        return study

    return make


PRESETS: dict[str, Callable[[], Study]] = {
    DIGITS: _later("classification", "digits"),
    "demo": _later("classification", "demo"),
    "cifar100-small": _later("classification", "cifar100_small"),
    "cifar100-small-methods": _later("classification", "cifar100_small_methods"),
    "cifar100-small-gpu": _later("classification", "cifar100_small_gpu"),
    "cifar100-evidence": _later("evidence", "cifar100"),
    "cifar100-evidence-gpu": _later("evidence", "cifar100_gpu"),
    CIFAR100: _later("classification", "cifar100"),
    "cifar100-1024": _later("classification", "cifar100_1024"),
    "imagenet": _later("classification", "imagenet"),
    "imagenet-1024": _later("classification", "imagenet_1024"),
    "coco": _later("detection", "coco"),
    "coco-small": _later("detection", "coco_small"),
    "coco-tiny": _later("detection", "coco_tiny"),
    "voc-seg": _later("segmentation", "voc"),
    "camvid-small": _later("segmentation", "camvid_small"),
    "hgkd-imagenet": _later("pretraining", "imagenet"),
    "hgkd-imagenet-coco": _later("pretraining", "coco"),
    "hgkd-imagenet-voc": _later("pretraining", "voc"),
    "hgkd-small": _later("pretraining", "small"),
}
ON_CPU = (
    DIGITS, "demo", "cifar100-small", "cifar100-small-methods", "cifar100-evidence", "coco-tiny", "camvid-small",
    "hgkd-small",
)  # fmt: skip
"""Studies that a machine without a GPU can finish."""
GPU_PRESETS = tuple(name for name in PRESETS if name not in ON_CPU)
"""Studies that a machine without a GPU does not start."""


def preset(name: str, **changes: Any) -> Study:
    """A study by name, with some of its fields changed. Raises ConfigError with the nearest names."""
    check_preset(name)
    return replace(PRESETS[name](), **changes)


def check_preset(name: str) -> None:
    """Raises ConfigError with the nearest names for a preset that does not exist."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)

"""The studies that come with the product: one function each, by name in `PRESETS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pat.config import Data, Recipe, unknown
from sweeps.study import Search, Study

DIGITS, CIFAR100_SMALL, CIFAR100_SMALL_METHODS = "digits", "cifar100-small", "cifar100-small-methods"
CIFAR100_SMALL_GPU, CIFAR100 = "cifar100-small-gpu", "cifar100"

CNN_STUDENTS = ("resnet18", "mobilenetv2_100")
CIFAR100_PAIRS = (
    ("swin_tiny_patch4_window7_224", "resnet18"),
    ("vit_small_patch16_224", "resnet18"),
    ("mixer_b16_224", "resnet18"),
    ("swin_tiny_patch4_window7_224", "mobilenetv2_100"),
    ("vit_small_patch16_224", "mobilenetv2_100"),
    ("mixer_b16_224", "mobilenetv2_100"),
    ("convnext_tiny", "deit_tiny_patch16_224"),
    ("mixer_b16_224", "deit_tiny_patch16_224"),
    ("convnext_tiny", "swin_pico_patch4_window7_224"),
    ("mixer_b16_224", "swin_pico_patch4_window7_224"),
    ("convnext_tiny", "resmlp_12_224"),
    ("swin_tiny_patch4_window7_224", "resmlp_12_224"),
)
"""The 12 pairs of the OFA and PAT papers; those with a CNN student come first."""

IMAGENET_WEIGHTS = {
    "swin_tiny_patch4_window7_224": "timm:swin_tiny_patch4_window7_224.ms_in1k",
    "vit_small_patch16_224": "timm:vit_small_patch16_224.augreg_in21k_ft_in1k",
    "mixer_b16_224": "timm:mixer_b16_224.goog_in21k_ft_in1k",
    "convnext_tiny": "timm:convnext_tiny.fb_in1k",
}

CIFAR100_CNN = Recipe(
    epochs=300,
    batch_size=128,
    optimizer="sgd",
    lr=0.05,
    momentum=0.9,
    weight_decay=2e-3,
    schedule="cosine",
    schedule_per_epoch=True,
    min_lr=1e-3,
    warmup_epochs=3,
    warmup_lr=1e-4,
    label_smoothing=0.1,
    crop_scale=(0.08, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    flip=0.5,
    ema_decay=0.9998,
    precision="bf16",
)
"""The PAT paper's recipe for CNN students on CIFAR-100 (batch 128 is that of its script)."""

CIFAR100_TEACHER = Recipe(
    epochs=300,
    batch_size=128,
    optimizer="adamw",
    lr=5e-5,
    weight_decay=0.05,
    schedule="cosine",
    schedule_per_epoch=True,
    min_lr=1e-6,
    warmup_epochs=20,
    warmup_lr=5e-8,
    clip_grad=5.0,
    label_smoothing=0.1,
    crop_scale=(0.08, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    flip=0.5,
    mixup=0.8,
    cutmix=1.0,
    precision="bf16",
)
"""The papers' fine-tuning of ImageNet weights, without their RandAugment, colour jitter and random erasing."""

TINY = Recipe(
    epochs=6,
    batch_size=48,
    optimizer="adamw",
    lr=3e-3,
    weight_decay=0.05,
    warmup_epochs=1,
    warmup_lr=1e-4,
    clip_grad=1.0,
    label_smoothing=0.1,
)
"""For the small models. A ViT of this size needs a higher rate to learn as much in as many epochs."""
TINY_VIT = replace(TINY, batch_size=40, lr=8e-3)
TINY_TEACHER = replace(TINY, epochs=12, batch_size=32)

TINY_TEACHERS = ("convnext_micro_32", "vit_micro_patch8_32", "mixer_micro_patch8_32")
TINY_STUDENTS = ("resnet_nano_32", "vit_nano_patch8_32", "mixer_nano_patch8_32")
TINY_OPTIONS = {"pat": {"regions": 16, "region_dim": 64, "heads": 4}, "crd": {"negatives": 1024, "dim": 64}}
"""Methods at the size of these models; PAT's 64 regions of width 512 would be larger than the teacher."""
METHODS = ("kd", "fitnet", "cc", "rkd", "crd", "dkd", "dist", "ofa", "pat")
"""The columns of the OFA and PAT tables, beside scratch."""


def digits() -> Study:
    """1,797 real 8x8 images, tiny models of each family: the whole path in minutes. It proves nothing about PAT."""
    return Study(
        name=DIGITS,
        data=Data("digits", image_size=32, validation=0.2),
        teachers=dict.fromkeys(TINY_TEACHERS, TINY_TEACHER),
        students=_with_vit(TINY_STUDENTS, TINY, TINY_VIT),
        pairs=_every(TINY_TEACHERS, TINY_STUDENTS),
        seeds=2,
        options=TINY_OPTIONS,
        choices={"pat": {"regions": (8, 16, 36)}},
    )


def _with_vit(students: tuple[str, ...], recipe: Recipe, vit: Recipe) -> dict[str, Recipe]:
    """The recipe of each student; the second name is the ViT."""
    return {name: vit if place == 1 else recipe for place, name in enumerate(students)}


def cifar100_small() -> Study:
    """Real CIFAR-100 at 32x32 with small models of 16 tokens: hours on a few cores."""
    recipe = replace(TINY, epochs=30, batch_size=128, warmup_epochs=2, crop_scale=(0.5, 1.0), flip=0.5, ema_decay=0.999)
    return Study(
        name=CIFAR100_SMALL,
        data=Data("cifar100", image_size=32),
        teachers=dict.fromkeys(TINY_TEACHERS, recipe),
        students=_with_vit(TINY_STUDENTS, recipe, replace(recipe, lr=3e-3)),
        pairs=_every(TINY_TEACHERS, TINY_STUDENTS),
        search=Search(trials=8, wave=8, eta=2, rungs=(0.1, 0.3, 1.0)),
        options=TINY_OPTIONS,
        choices={"pat": {"regions": (8, 16, 36)}},
    )


def cifar100_small_methods() -> Study:
    """Real CIFAR-100 at 32x32, ten methods at the settings of the tables, 4 epochs, three pairs that cross families."""
    study = cifar100_small()
    short = {name: replace(recipe, epochs=4, warmup_epochs=1) for name, recipe in study.students.items() if recipe}
    longer = replace(short[TINY_STUDENTS[0]], epochs=12)
    convnext, vit, _ = TINY_TEACHERS
    resnet, small_vit, mixer = TINY_STUDENTS
    return replace(
        study,
        name=CIFAR100_SMALL_METHODS,
        teachers=dict.fromkeys(TINY_TEACHERS, longer),
        students=short,
        pairs=((vit, resnet), (convnext, small_vit), (convnext, mixer)),
        methods=METHODS,
        search=Search(trials=0),
        seeds=3,
    )


def cifar100_small_gpu() -> Study:
    """Real CIFAR-100 at 32x32 with models of 64 tokens and teachers of 1-3 M parameters, for one GPU."""
    teachers = ("convnext_milli_32", "vit_milli_patch4_32", "mixer_milli_patch4_32")
    students = ("resnet_micro_32", "vit_micro_patch4_32", "mixer_micro_patch4_32")
    recipe = replace(
        TINY,
        epochs=60,
        batch_size=256,
        crop_scale=(0.35, 1.0),
        flip=0.5,
        warmup_epochs=5,
        ema_decay=0.999,
        precision="bf16",
    )
    return Study(
        name=CIFAR100_SMALL_GPU,
        data=Data("cifar100", image_size=32),
        teachers=dict.fromkeys(teachers, recipe),
        students=dict.fromkeys(students, recipe),
        pairs=_every(teachers, students),
        search=Search(trials=8, wave=8, eta=2, rungs=(0.1, 0.3, 1.0)),
        options={"pat": {"region_dim": 128, "heads": 4}},
        gpu_share=0.25,
    )


def cifar100() -> Study:
    """The papers' 12 pairs at 224x224. Students that are ViTs or MLPs have no recipe yet: their augmentations are
    not there. The search holds out 5,000 images; baselines and confirmations train on all 50,000."""
    students = dict.fromkeys(student for _, student in CIFAR100_PAIRS)
    return Study(
        name=CIFAR100,
        data=Data("cifar100", image_size=224),
        teachers=dict.fromkeys(IMAGENET_WEIGHTS, CIFAR100_TEACHER),
        students={name: CIFAR100_CNN if name in CNN_STUDENTS else None for name in students},
        pairs=CIFAR100_PAIRS,
        search=Search(trials=8, wave=8, eta=2, rungs=(1 / 30, 1 / 10, 1 / 3, 1.0)),
        initial=IMAGENET_WEIGHTS,
        confirm_validation=0.0,
        threads=4,
    )


def _every(teachers: tuple[str, ...], students: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """All pairs, in such an order that the first ones cross families (both lists begin with the CNN)."""
    turns = [(place, shift) for shift in (1, 2, 0) for place in range(len(teachers))]
    return tuple((teachers[place], students[(place + shift) % len(students)]) for place, shift in turns)


PRESETS: dict[str, Callable[[], Study]] = {
    DIGITS: digits,
    CIFAR100_SMALL: cifar100_small,
    CIFAR100_SMALL_METHODS: cifar100_small_methods,
    CIFAR100_SMALL_GPU: cifar100_small_gpu,
    CIFAR100: cifar100,
}
GPU_PRESETS = (CIFAR100, CIFAR100_SMALL_GPU)
"""Studies that a machine without a GPU does not start."""


def preset(name: str, **changes: Any) -> Study:
    """A study by name, with some of its fields changed. Raises ConfigError with the nearest names."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return replace(PRESETS[name](), **changes)

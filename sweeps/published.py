"""The experiments of the papers as published: pairs, recipes, weights, and what authors corrected in public.

Names and figures are those of OFA-KD (arXiv 2310.19444), whose 12 and 15 pairs later papers share, and of PAT (arXiv
2501.08885). Two batch conventions exist: OFA's (8 GPUs) and that of PAT's scripts (one GPU on CIFAR-100, four on
ImageNet) at the same learning rates. They are studies of their own and never stand in one table.
"""

from __future__ import annotations

from dataclasses import replace

from pat.config import Recipe

METHODS = ("kd", "fitnet", "cc", "rkd", "crd", "dkd", "dist", "ofa", "fbt", "pat")
"""The columns of the papers' tables, beside scratch."""
COLUMNS = (*METHODS, "rsd", "sokd")
"""What a user expects beside each other today: the presets' columns."""
CNN_STUDENTS = ("resnet18", "mobilenetv2_100")
SWIN, VIT, MIXER = "swin_tiny_patch4_window7_224", "vit_small_patch16_224", "mixer_b16_224"
CONVNEXT, DEIT, RESNET50 = "convnext_tiny", "deit_tiny_patch16_224", "resnet50"
SWIN_PICO, SWIN_NANO, RESMLP = "swin_pico_patch4_window7_224", "swin_nano_patch4_window7_224", "resmlp_12_224"


def _cross(students: tuple[str, ...], teachers: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((teacher, student) for student in students for teacher in teachers)


CIFAR100_PAIRS = (
    *_cross(CNN_STUDENTS, (SWIN, VIT, MIXER)),
    *_cross((DEIT, SWIN_PICO), (CONVNEXT, MIXER)),
    *_cross((RESMLP,), (CONVNEXT, SWIN)),
)
IMAGENET_PAIRS = (
    *_cross(CNN_STUDENTS, (DEIT, SWIN, MIXER)),
    *_cross((DEIT, SWIN_NANO), (RESNET50, CONVNEXT, MIXER)),
    *_cross((RESMLP,), (RESNET50, CONVNEXT, SWIN)),
)

WEIGHTS = {
    SWIN: "timm:swin_tiny_patch4_window7_224.ms_in1k",
    VIT: "timm:vit_small_patch16_224.augreg_in21k_ft_in1k",
    MIXER: "timm:mixer_b16_224.goog_in21k_ft_in1k",
    CONVNEXT: "timm:convnext_tiny.fb_in1k",
    DEIT: "timm:deit_tiny_patch16_224.fb_in1k",
    RESNET50: "timm:resnet50.a1_in1k",
}
"""ImageNet weights: the teachers on ImageNet, and where the fine-tuning of the CIFAR-100 teachers starts."""

_PLAIN = Recipe(
    epochs=300,
    batch_size=128,
    lr=0.05,
    schedule_per_epoch=True,
    label_smoothing=0.1,
    crop_scale=(0.08, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    flip=0.5,
    interpolation="random",
    precision="bf16",
)
_STRONG = replace(
    _PLAIN,
    optimizer="adamw",
    weight_decay=0.05,
    clip_grad=5.0,
    warmup_epochs=20,
    color_jitter=0.4,
    auto_augment="rand-m9-mstd0.5-inc1",
    random_erasing=0.25,
    mixup=0.8,
    cutmix=1.0,
)
"""The augmentations of the ViT and MLP recipes; the colour jitter of the published file does nothing, as in timm."""

CIFAR100_CNN = replace(_PLAIN, weight_decay=2e-3, min_lr=1e-3, warmup_epochs=3, warmup_lr=1e-4, ema_decay=0.9998)
"""CNN students on CIFAR-100, batch 128."""
CIFAR100_VIT_MLP = replace(_STRONG, lr=5e-4, min_lr=1e-5, warmup_lr=5e-7, ema_decay=0.9998)
"""ViT and MLP students on CIFAR-100, batch 128."""
CIFAR100_TEACHER = replace(_STRONG, lr=5e-5, min_lr=1e-6, warmup_lr=5e-8)
"""Fine-tuning of ImageNet weights on CIFAR-100."""

CIFAR100_CNN_1024 = replace(CIFAR100_CNN, batch_size=1024)
CIFAR100_RESNET_1024 = replace(CIFAR100_CNN_1024, lr=0.1)
"""The authors of OFA-KD name this rate for their ResNet-18, where their published file has 0.05."""
CIFAR100_VIT_MLP_1024 = replace(CIFAR100_VIT_MLP, batch_size=1024, min_lr=1e-6, ema_decay=0.99996)
"""With the last rate and the EMA that the authors of OFA-KD name."""
CIFAR100_TEACHER_1024 = replace(CIFAR100_TEACHER, batch_size=1024)

IMAGENET_CNN = replace(
    _PLAIN,
    epochs=100,
    batch_size=256,
    lr=0.1,
    weight_decay=1e-4,
    schedule="step",
    decay_epochs=30,
    decay_rate=0.1,
    warmup_epochs=3,
    warmup_lr=1e-4,
    ema_decay=0.9998,
)
"""CNN students on ImageNet, four GPUs of 64 images."""
IMAGENET_VIT_MLP = replace(_STRONG, batch_size=512, lr=5e-4, min_lr=1e-6, warmup_lr=5e-7, ema_decay=0.99996)
"""ViT and MLP students on ImageNet, four GPUs of 128 images."""
IMAGENET_CNN_1024 = replace(IMAGENET_CNN, batch_size=512)
IMAGENET_VIT_MLP_1024 = replace(IMAGENET_VIT_MLP, batch_size=1024)

COCO_PAIRS = tuple((SWIN, student) for student in CNN_STUDENTS)
COCO_WEIGHTS = {
    SWIN: WEIGHTS[SWIN],
    ":resnet18": "timm:resnet18.tv_in1k",
    ":mobilenetv2_100": "timm:mobilenetv2_100.ra_in1k",
}
"""ImageNet weights with which the backbones of detectors and segmenters begin."""
COCO_STUDENT = Recipe(
    epochs=12,
    batch_size=8,
    lr=0.01,
    weight_decay=1e-4,
    schedule="multistep",
    milestones=(8, 11),
    decay_rate=0.1,
    warmup_steps=1000,
    warmup_lr=1e-5,
    flip=0.5,
    interpolation="bilinear",
    sizes=(640, 672, 704, 736, 768, 800),
    precision="bf16",
)
"""SGD at batch 8, decayed after 120,000 and 160,000 of 180,000 steps; the short side of an image is 640 to 800."""
COCO_TEACHER = replace(
    COCO_STUDENT, epochs=18, optimizer="adamw", lr=1e-4, weight_decay=0.05, milestones=(14, 17), warmup_lr=1e-7
)
"""AdamW at batch 8, decayed after 210,000 and 250,000 of 270,000 steps."""

OFA_AUTHORS_CIFAR100 = {f":{student}": {"ofa": {"weight": 0.1}} for student in CNN_STUDENTS}
"""What the authors of OFA-KD named in public as their setting for CNN students on CIFAR-100."""
OFA_AUTHORS_IMAGENET = {f"{DEIT}:resnet18": {"ofa": {"epsilon": 1.5}}}
MODULES = {"pat": {"aligner": "published"}, "fitnet": {"aligner": "published"}, "ofa": {"heads": "published"}}
"""Projectors and heads of the public codes, and their initial weights."""
IMAGENET_BEGINNINGS = {"reviewkd": {"warmup_epochs": 1}, "sokd": {"search_epochs": 5}}
"""How long the public codes let a loss in and search for a policy on ImageNet."""
PAT_CODE_FITNET = {"fitnet": {"kd_weight": 1.0}}
"""The FitNet of the code published with PAT has a KD term; the published tables' FitNet has none."""

"""Studies of image classification."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pat.config import Data, Recipe
from sweeps import published
from sweeps.presets.proposed import PROPOSED
from sweeps.study import Search, Study, TeacherFile

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
TINY_OPTIONS = {
    "pat": {"regions": 16, "region_dim": 64, "heads": 4},
    "crd": {"negatives": 1024, "dim": 64},
    "rld": {"warmup_epochs": 1},
    "reviewkd": {"warmup_epochs": 1},
    "sokd": {"search_epochs": 2, "head_dim": 16},
}
"""Methods at the size of these models and runs: PAT's 64 regions of width 512 would be larger than the teacher,
warm-ups longer than the run."""


def digits() -> Study:
    """1,797 real 8x8 images, tiny models of each family: the whole path in minutes. It proves nothing about PAT.

    Its four trials are one wave: the model has nothing to propose.
    """
    return Study(
        name="digits",
        data=Data("digits", image_size=32, validation=0.2),
        teachers=dict.fromkeys(TINY_TEACHERS, TINY_TEACHER),
        students=_with_vit(TINY_STUDENTS, TINY, TINY_VIT),
        pairs=_every(TINY_TEACHERS, TINY_STUDENTS),
        search=Search(keep_default=True),
        seeds=2,
        options=TINY_OPTIONS,
        choices={"pat": {"regions": (8, 16, 36)}},
    )


def demo() -> Study:
    """Students of the digits for whom labels alone are not enough, with a teacher of each family: the ViT, which stays
    at 78 % without one, and the Mixer. Fewer cells and more seeds than `digits`, so that a gain can be told from
    chance; PAT in its relational form (the hinted one, which we recommend, gains half a point less on digits).
    """
    study = digits()
    convnext, vit, mixer = TINY_TEACHERS
    _, small_vit, small_mixer = TINY_STUDENTS
    return replace(
        study,
        name="demo",
        pairs=((convnext, small_vit), (mixer, small_vit), (vit, small_mixer)),
        methods=("kd", "rsd", "pat"),
        seeds=3,
        options={**TINY_OPTIONS, "pat": {**TINY_OPTIONS["pat"], "variant": "relational"}},
    )


def _with_vit(students: tuple[str, ...], recipe: Recipe, vit: Recipe) -> dict[str, Recipe]:
    """The recipe of each student; the second name is the ViT."""
    return {name: vit if place == 1 else recipe for place, name in enumerate(students)}


def cifar100_small() -> Study:
    """Real CIFAR-100 at 32x32 with small models of 16 tokens: hours on a few cores."""
    recipe = replace(
        TINY,
        epochs=30,
        batch_size=128,
        warmup_epochs=2,
        crop_scale=(0.5, 1.0),
        flip=0.5,
        ema_decay=0.999,
        ema_warmup=True,
    )
    return Study(
        name="cifar100-small",
        data=Data("cifar100", image_size=32),
        teachers=dict.fromkeys(TINY_TEACHERS, recipe),
        students=_with_vit(TINY_STUDENTS, recipe, replace(recipe, lr=3e-3)),
        pairs=_every(TINY_TEACHERS, TINY_STUDENTS),
        search=Search(**PROPOSED, rungs=(0.1, 0.3, 1.0), ahead=0.3),
        options=TINY_OPTIONS,
        choices={"pat": {"regions": (8, 16, 36)}},
    )


def cifar100_small_methods() -> Study:
    """Real CIFAR-100 at 32x32, every column at its published settings, 4 epochs, three pairs that cross families."""
    study = cifar100_small()
    short = {name: replace(recipe, epochs=4, warmup_epochs=1) for name, recipe in study.students.items()}
    longer = replace(short[TINY_STUDENTS[0]], epochs=12)
    convnext, vit, _ = TINY_TEACHERS
    resnet, small_vit, mixer = TINY_STUDENTS
    return replace(
        study,
        name="cifar100-small-methods",
        teachers=dict.fromkeys(TINY_TEACHERS, longer),
        students=short,
        pairs=((vit, resnet), (convnext, small_vit), (convnext, mixer)),
        methods=published.COLUMNS,
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
        ema_warmup=True,
        precision="bf16",
    )
    return Study(
        name="cifar100-small-gpu",
        data=Data("cifar100", image_size=32),
        teachers=dict.fromkeys(teachers, recipe),
        students=dict.fromkeys(students, recipe),
        pairs=_every(teachers, students),
        search=Search(**PROPOSED, rungs=(0.1, 0.3, 1.0), ahead=0.3),
        options={"pat": {"region_dim": 128, "heads": 4}},
    )


def cifar100() -> Study:
    """The papers' 12 pairs and every column at 224x224, batch 128 as in PAT's script.

    The search holds out 5,000 images; baselines and confirmations train on all 50,000.
    """
    students = dict.fromkeys(student for _, student in published.CIFAR100_PAIRS)
    teachers = dict.fromkeys(teacher for teacher, _ in published.CIFAR100_PAIRS)
    return Study(
        name="cifar100",
        data=Data("cifar100", image_size=224, crop_pct=0.0),
        teachers=dict.fromkeys(teachers, published.CIFAR100_TEACHER),
        students=_by_family(students, published.CIFAR100_CNN, published.CIFAR100_VIT_MLP),
        pairs=published.CIFAR100_PAIRS,
        methods=published.COLUMNS,
        search=Search(**PROPOSED, rungs=(1 / 10, 1 / 3, 1.0), ahead=1 / 3),
        initial={name: published.WEIGHTS[name] for name in teachers},
        options=published.MODULES,
        corrections=published.OFA_AUTHORS_CIFAR100,
        confirm_validation=0.0,
        threads=4,
    )


def cifar100_1024() -> Study:
    """The same pairs at OFA's global batch of 1,024, with the rates that its authors name."""
    study = cifar100()
    students = _by_family(study.students, published.CIFAR100_CNN_1024, published.CIFAR100_VIT_MLP_1024)
    return replace(
        study,
        name="cifar100-1024",
        teachers=dict.fromkeys(study.teachers, published.CIFAR100_TEACHER_1024),
        students={**students, "resnet18": published.CIFAR100_RESNET_1024},
    )


def imagenet() -> Study:
    """The papers' 15 pairs and every column on ImageNet-1K with timm's teachers, batches of PAT's script (four GPUs).

    The search holds out 4 % of train; confirmations train on all of it.
    """
    students = dict.fromkeys(student for _, student in published.IMAGENET_PAIRS)
    teachers = dict.fromkeys(teacher for teacher, _ in published.IMAGENET_PAIRS)
    return Study(
        name="imagenet",
        data=Data("imagenet", image_size=224, validation=0.04, crop_pct=0.0),
        teachers={name: TeacherFile(published.WEIGHTS[name], "") for name in teachers},
        students=_by_family(students, published.IMAGENET_CNN, published.IMAGENET_VIT_MLP),
        pairs=published.IMAGENET_PAIRS,
        methods=published.COLUMNS,
        search=Search(**PROPOSED, rungs=(1 / 10, 1 / 3, 1.0), ahead=1 / 3),
        options={**published.MODULES, **published.IMAGENET_BEGINNINGS},
        corrections=published.OFA_AUTHORS_IMAGENET,
        confirm_validation=0.0,
        threads=4,
    )


def imagenet_1024() -> Study:
    """The same pairs at OFA's global batches (512 for CNN students, 1,024 for the others)."""
    study = imagenet()
    students = _by_family(study.students, published.IMAGENET_CNN_1024, published.IMAGENET_VIT_MLP_1024)
    return replace(study, name="imagenet-1024", students=students)


def _by_family(students: Iterable[str], cnn: Recipe, others: Recipe) -> dict[str, Recipe]:
    """The recipe of each of the papers' students."""
    return {name: cnn if name in published.CNN_STUDENTS else others for name in students}


def _every(teachers: tuple[str, ...], students: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """All pairs, in such an order that the first ones cross families (both lists begin with the CNN)."""
    turns = [(place, shift) for shift in (1, 2, 0) for place in range(len(teachers))]
    return tuple((teachers[place], students[(place + shift) % len(students)]) for place, shift in turns)

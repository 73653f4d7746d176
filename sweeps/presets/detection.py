"""Studies of object detection on COCO 2017: Faster R-CNN with a feature pyramid on each backbone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pat.config import Data, Task
from sweeps import published
from sweeps.study import Search, Study

METHODS = ("kd", "fitnet", "pat")
OPTIONS: dict[str, dict[str, Any]] = {
    "fitnet": {"kd_weight": 1.0},
    "pat": {"regions": (25,) * 5, "region_dim": 64, "heads": 8, "feedback": "current"},
}
"""As in the code published with PAT: 5 x 5 regions of each level, KD beside FitNet's hints. Ours: what a prompt is
told is of this batch, as the last one had another canvas."""


def coco() -> Study:
    """The two pairs of PAT's third table. It holds out 1 % of train for the search; confirmations train on all of it.

    Schedules are those of its code in epochs of 117,266 images: 12 (it has 180,000 steps of 8 images, 12.3 epochs),
    for the teacher 18 (270,000). All start from timm's ImageNet weights.
    """
    return Study(
        name="coco",
        task=Task("detection"),
        data=Data("coco", image_size=800, validation=0.01),
        teachers={published.SWIN: published.COCO_TEACHER},
        students=dict.fromkeys(published.CNN_STUDENTS, published.COCO_STUDENT),
        pairs=published.COCO_PAIRS,
        methods=METHODS,
        search=Search(trials=0),
        seeds=3,
        initial=published.COCO_WEIGHTS,
        options=OPTIONS,
        confirm_validation=0.0,
        threads=4,
    )


def coco_small() -> Study:
    """The same pairs on images of 400 pixels, a quarter of the schedule: about a day on one GPU."""
    study = coco()
    smaller: dict[str, Any] = {"sizes": (320, 336, 352, 368, 384, 400), "batch_size": 16}
    return replace(
        study,
        name="coco-small",
        task=Task("detection", {"longest": 672, "anchors": (16.0, 32.0, 64.0, 128.0, 256.0)}),
        data=replace(study.data, image_size=400),
        teachers={published.SWIN: replace(published.COCO_TEACHER, **smaller, epochs=5, milestones=(4,))},
        students=dict.fromkeys(
            published.CNN_STUDENTS, replace(published.COCO_STUDENT, **smaller, lr=0.02, epochs=3, milestones=(2,))
        ),
    )


def coco_tiny() -> Study:
    """A few images of COCO's in DATA_ROOT/coco-tiny, small models from scratch: the whole path in minutes.

    It proves nothing about a method: from scratch on so few images every AP is next to 0.
    """
    recipe = replace(
        published.COCO_TEACHER,
        epochs=6,
        batch_size=4,
        lr=1e-3,
        sizes=(112, 128, 144),
        milestones=(4,),
        warmup_steps=5,
        clip_grad=5.0,
        precision="fp32",
    )
    teacher, students = published.SWIN_PICO, ("resnet10t", "mobilenetv2_050")
    return Study(
        name="coco-tiny",
        task=Task(
            "detection",
            {
                "width": 32,
                "hidden": 128,
                "longest": 224,
                "anchors": (16.0, 32.0, 64.0, 128.0, 256.0),
                "proposals": (200, 100, 100),
                "regions": 64,
                "freeze_norm": False,
            },
        ),
        data=Data("coco-tiny", image_size=128, validation=0.2),
        teachers={teacher: recipe},
        students=dict.fromkeys(students, recipe),
        pairs=tuple((teacher, student) for student in students),
        methods=METHODS,
        search=Search(trials=0),
        seeds=2,
        options={**OPTIONS, "pat": {**OPTIONS["pat"], "regions": (4,) * 5, "region_dim": 32, "heads": 4}},
    )

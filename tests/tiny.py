"""The smallest real study material: 96 + 48 digits, one model of each family, and short ways to train on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from pat.config import Data, Method, Recipe, RunConfig, Teacher
from pat.data import Split, load_digits, register_dataset
from pat.io import LocalIO
from pat.methods import list_methods
from pat.options import teacherless
from pat.tasks.classification import Classification
from pat.train import Outcome, train

CNN, VIT, MLP, BATCHNORM = "convnext_micro_32", "vit_nano_patch8_32", "mixer_nano_patch8_32", "resnet_nano_32"
METHODS = [name for name in list_methods("classification") if name not in ("longer", "pat_relational", "pat_hinted")]
"""Those of classification but for names of what is there already: scratch and PAT with other defaults."""
SMALL_PAT = {"regions": 8, "region_dim": 16, "heads": 2}
SMALL: dict[str, dict[str, Any]] = {
    "pat": SMALL_PAT,
    "crd": {"negatives": 32, "dim": 16},
    "fbt": {"dim": 16},
    "reviewkd": {"warmup_epochs": 1},
    "sokd": {"head_dim": 8, "search_epochs": 1},
}
"""Options that make the methods' own modules as small as the models."""
RECIPE: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 16,
    "lr": 2e-3,
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "crop_scale": (0.6, 1.0),
    "crop_ratio": (0.8, 1.25),
    "ema_decay": 0.9,
}


@register_dataset("tiny")
def load_tiny(root: Path, data: Data) -> tuple[Split, Split, int]:
    """The first digits of scikit-learn's set."""
    train_split, test_split, classes, *_ = load_digits(root, data)
    return (
        Split(train_split.images[:110], train_split.labels[:110]),
        Split(test_split.images[:48], test_split.labels[:48]),
        classes,
    )


def config(student: str = VIT, method: str = "scratch", epochs: int = 2, **fields: Any) -> RunConfig:
    """A run on the tiny set; a distillation gets the ConvNeXt teacher of the `teacher_file` fixture."""
    options = fields.pop("options", SMALL.get(method, {}))
    recipe = Recipe(**{**RECIPE, "epochs": epochs, **fields.pop("recipe", {})})
    teacher = None if teacherless(method) else Teacher(CNN, "run:0123456789abcdef")
    given = {"method": Method(method, options), "teacher": teacher, **fields}
    return RunConfig(student, Data("tiny", 32), recipe, **given)


def task(size: int | tuple[int, int] = 32, labels: Tensor | None = None, classes: int = 10) -> Classification:
    """Classification of images of this size."""
    sides = (size, size) if isinstance(size, int) else size
    made = Classification(Data("tiny", min(sides)), classes, labels)
    made.canvas = sides
    return made


def run(configuration: RunConfig, folder: Path, teacher_file: Path | None = None, **kwargs: Any) -> Outcome:
    """Trains in `folder` on the CPU, without Ray."""
    return train(configuration, LocalIO(folder), teacher_file=teacher_file, **kwargs)

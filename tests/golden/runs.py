"""Every method between three families in two precisions, twelve steps each, and a few runs of other tasks: what they
give, and on which CPU."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from pat.config import Data, Method, Recipe, RunConfig, Teacher
from pat.io import IO, LocalIO
from pat.models import create_student
from pat.options import teacherless
from pat.tasks import create_task
from pat.train import train
from tests import tiny
from tests.golden import generation
from tests.golden.dense import CLASSES, dense_configurations
from tests.golden.generation import generation_configurations

FILE = Path(__file__).parent / "runs.json"
STUDENTS = {"cnn": tiny.BATCHNORM, "vit": tiny.VIT, "mlp": tiny.MLP}
TEACHERS = {"cnn": "vit_micro_patch8_32", "vit": "mixer_micro_patch8_32", "mlp": tiny.CNN}
"""The teacher of each family's student is of another family."""

RECIPES: dict[str, dict[str, Any]] = {
    "cnn": {"optimizer": "sgd", "lr": 1e-3, "weight_decay": 0.5, "schedule": "step", "decay_epochs": 1,
            "label_smoothing": 0.1, "crop_scale": (0.35, 1.0), "crop_ratio": (0.75, 4 / 3), "flip": 0.5,
            "interpolation": "random", "color_jitter": 0.4, "ema_decay": 0.9},
    "vit": {"optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.5, "warmup_epochs": 1, "warmup_lr": 5e-4,
            "min_lr": 1e-5, "clip_grad": 1.0, "label_smoothing": 0.1, "auto_augment": "rand-m9-mstd0.5-inc1",
            "random_erasing": 0.25, "mixup": 0.8, "cutmix": 1.0},
    "mlp": {"optimizer": "adamw", "lr": 2e-3, "weight_decay": 1.0, "schedule_per_epoch": True, "clip_grad": 5.0,
            "mixup": 0.2, "mixup_mode": "elem", "crop_scale": (0.6, 1.0), "crop_ratio": (0.8, 1.25),
            "ema_decay": 0.99, "ema_warmup": True},
}  # fmt: skip
"""Together they use every part of a recipe. The CNN's rate is low, because BatchNorm over 16 images turns rounding
into other losses within a few large steps; weight decay is high, so that half of it shows in twelve steps."""

OPTIONS: dict[str, dict[str, Any]] = {
    **tiny.SMALL,
    "crd": {**tiny.SMALL["crd"], "weight": 0.2, "temperature": 0.3},
    "rkd": {"distance_weight": 0.1, "angle_weight": 0.2},
    "rld": {"warmup_epochs": 2},
}
"""Small modules, and losses of such a size that rounding stays rounding."""

VARIANTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "pat-current": ("pat", "vit", {**tiny.SMALL_PAT, "feedback": "current", "prompt_depth": 2}),
    "pat-none": ("pat", "mlp", {**tiny.SMALL_PAT, "feedback": "none", "prompt_depth": (1, 4)}),
    "pat-balanced": ("pat", "vit", {**tiny.SMALL_PAT, "variant": "balanced", "feature_weight": 1.0}),
    "pat-relational": ("pat", "mlp", {**tiny.SMALL_PAT, "variant": "relational", "prompt_depth": 2}),
    "pat-hinted": ("pat", "vit", {**tiny.SMALL_PAT, "variant": "hinted"}),
    "pat-remedies": ("pat", "mlp", {
        **tiny.SMALL_PAT, "feature_norm": "variance", "feature_size": "regions", "feature_stages": 3,
        "feature_warmup": 8, "drift_weight": 1.0, "restandardise": True, "aligner": "published",
    }),
    "pat-published": ("pat", "cnn", {**tiny.SMALL_PAT, "aligner": "published"}),
    "fitnet-kd": ("fitnet", "mlp", {"kd_weight": 1.0}),
    "fitnet-variance": ("fitnet", "vit", {"feature_norm": "variance"}),
    "fitnet-published": ("fitnet", "cnn", {"aligner": "published"}),
    "ofa-published": ("ofa", "vit", {"heads": "published"}),
    "cc-kernel": ("cc", "vit", {"form": "kernel"}),
    "ttm": ("wttm", "mlp", {"weighted": False, "weight": 10.0, "gamma": 0.5}),
    **{f"{name}-standardised": (name, "vit", {"standardise": True}) for name in ("kd", "dkd", "nkd")},
    "reviewkd-warm": ("reviewkd", "mlp", {"warmup_epochs": 3}),
    "sokd-reviewkd": ("sokd", "vit", {**tiny.SMALL["sokd"], "base": "reviewkd", "stages": 3, "mask": "student"}),
    "fbt-last": ("fbt", "vit", {**tiny.SMALL["fbt"], "order": "teacher-student", "detach_assistant": True}),
}  # fmt: skip
"""Other ways through a method: its name, the student's family, its options."""


def configurations() -> Iterator[tuple[str, RunConfig]]:
    """Every golden run by its name."""
    for precision in ("fp32", "bf16"):
        for family in STUDENTS:
            for method in tiny.METHODS:
                yield f"{method} {family} {precision}", _config(method, family, OPTIONS.get(method, {}), precision)
    for name, (method, family, options) in VARIANTS.items():
        yield f"{name} {family} fp32", _config(method, family, options, "fp32")
    yield from dense_configurations()
    yield from generation_configurations()


def _config(method: str, family: str, options: Mapping[str, Any], precision: str) -> RunConfig:
    recipe = Recipe(epochs=2, batch_size=16, precision=precision, **RECIPES[family])
    teacher = None if teacherless(method) else Teacher(TEACHERS[family], "run:0123456789abcdef")
    return RunConfig(STUDENTS[family], Data("tiny", 32), recipe, Method(method, options), teacher)


def write_teachers(folder: Path) -> dict[str, Path]:
    """Teachers that nobody trained, so that they are the same on every CPU; their logits have a deviation of 3."""
    files = {}
    for name in {*TEACHERS.values(), generation.TEACHER}:
        model, generator = create_student(name, 10, 32, seed=7).eval(), torch.Generator().manual_seed(7)
        head = model.get_classifier()  # type: ignore[operator]
        with torch.no_grad():
            head.weight.copy_(torch.randn(head.weight.shape, generator=generator))
            head.weight *= 3 / model(torch.randn(64, 3, 32, 32, generator=generator)).std()
        files[name] = _written(model, folder / f"{name}.safetensors")
    for _, config in dense_configurations():
        if config.teacher is not None:
            model = create_task(config.task, config.data, CLASSES).student(config.teacher.name, seed=7)
            files[config.teacher.weights] = _written(model, folder / f"{config.task.name}.safetensors")
    return files


def _written(model: nn.Module, file: Path) -> Path:
    save_file({key: tensor.contiguous() for key, tensor in model.state_dict().items()}, file)
    return file


@dataclass(frozen=True)
class Trace:
    """What a run gives: the loss of each step, a row for each epoch without its seconds, its student's SHA-256."""

    losses: list[float]
    history: list[dict[str, Any]]
    student_sha256: str

    @property
    def digest(self) -> str:
        """Equal for equal bits. A row's scores go by the names that they had when the first digests were made."""
        rows = [{key.replace("_score_", "_top1_"): value for key, value in row.items()} for row in self.history]
        text = json.dumps([self.losses, rows, self.student_sha256], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class _Told(LocalIO):
    """Keeps the losses of every step, of which a checkpoint holds those of its epoch."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.losses: list[float] = []

    def report(self, history: list[dict[str, Any]], state: dict[str, Any]) -> None:
        self.losses += state["last_losses"]
        super().report(history, state)


def trace(config: RunConfig, folder: Path, teachers: Mapping[str, Path]) -> Trace:
    """Trains a golden run in an empty folder."""
    io: IO = (told := _Told(folder))
    teacher = config.teacher and (teachers.get(config.teacher.weights) or teachers[config.teacher.name])
    outcome = train(config, io, teacher_file=teacher)
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in outcome.history]
    return Trace(told.losses, json.loads(json.dumps(rows)), outcome.student_sha256)


def has_bf16() -> bool:
    """Whether this CPU computes in bf16 by itself."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def machine() -> str:
    """The kind of CPU and arithmetic on which bits are comparable: what decides which kernels run, in which blocks."""
    facts = ("vendor_id", "cpu family", "model", "stepping", "cache size", "flags")
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    limits = sorted(item for item in os.environ.items() if item[0].startswith(("ONEDNN_", "DNNL_", "MKL_")))
    kind = hashlib.sha256(json.dumps([[found.get(fact) for fact in facts], limits]).encode()).hexdigest()[:8]
    model = f"{found.get('vendor_id')} {found.get('cpu family')}/{found.get('model')}/{found.get('stepping')}"
    return f"{torch.backends.cpu.get_cpu_capability()}, {model} {kind}, torch {torch.__version__}"

"""What a run is: frozen dataclasses whose canonical form is hashed into the run's identity.

Everything that changes the numbers of a run stands here, and nothing else does. Where data lies, how many
workers share the batch and which device computes it are not part of a run. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

from pat.canonical import Part, later
from pat.errors import ConfigError, DataError, StorageError, unknown
from pat.options import complete_options, declared, plain, teacherless

__all__ = [
    "NUMERICS",
    "ConfigError",
    "Data",
    "DataError",
    "Method",
    "Part",
    "Recipe",
    "RunConfig",
    "StorageError",
    "Task",
    "Teacher",
    "later",
    "plain",
    "unknown",
]

NUMERICS = 3
"""Raised, with a line in the CHANGELOG, whenever the same configuration would give other numbers."""


def _check(ok: bool, name: str, value: Any, allowed: str) -> None:
    if not ok:
        raise ConfigError(f"{name} = {value!r}: {allowed}")


@dataclass(frozen=True)
class Teacher(Part):
    """A frozen teacher: a timm name and the identity of its weights.

    `weights` is `run:<run_id>` for one trained here, `sha256:<hex>` for the bytes of a file. `image_size`: the size in
    pixels at which it is given the student's images; 0: theirs.
    """

    label = "teacher"
    name: str
    weights: str
    image_size: int = later(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        kinds = ("run:", "sha256:")
        _check(self.image_size >= 0, "teacher.image_size", self.image_size, "a number of pixels, or 0: the data's")
        _check(self.weights.startswith(kinds), "teacher.weights", self.weights, "run:<run_id> or sha256:<hex>")


@dataclass(frozen=True)
class _Chosen(Part):
    """One of several by its name, with all of its options; options left out take their defaults.

    In the canonical form those that joined later (`pat.options`) are left out at their default.
    """

    kind: ClassVar[str]
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "options", complete_options(self.kind, self.name, self.options))

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.options.items()))))

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "options": declared(self.kind, self.name).written(self.options)}


@dataclass(frozen=True, eq=False)
class Method(_Chosen):
    """A distillation method by name with all of its options; options left out take the method's defaults."""

    kind = label = "method"
    name: str = "scratch"


@dataclass(frozen=True, eq=False)
class Task(_Chosen):
    """What is learnt, by name, with all of its options; options left out take the task's defaults."""

    kind = label = "task"
    name: str = "classification"


@dataclass(frozen=True)
class Data(Part):
    """A data set by name, the input size in pixels and the share of train cut off for validation.

    `fingerprint` identifies the files of an image folder (`pat.data.fingerprint`); named sets leave it empty.
    `crop_pct`: the share of the middle square that is scored; 0 is each model's own (timm's record of it).
    A folder that has its own validation images keeps them, whatever the share.
    `unreadable`: what an image file that cannot be decoded does: "stop" the run, or "skip" it.
    """

    label = "data"
    name: str
    image_size: int
    validation: float = 0.1
    fingerprint: str = ""
    crop_pct: float = 1.0
    unreadable: str = "stop"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(0 <= self.crop_pct <= 1, "data.crop_pct", self.crop_pct, "a share in (0, 1], or 0: each model's own")
        _check(self.unreadable in ("stop", "skip"), "data.unreadable", self.unreadable, "stop or skip")
        size = f"a positive number of pixels, at most {_MOST_PIXELS}"
        _check(0 < self.image_size <= _MOST_PIXELS, "data.image_size", self.image_size, size)
        _check(0 <= self.validation < 1, "data.validation", self.validation, "a share in [0, 1)")


@dataclass(frozen=True)
class Recipe(Part):
    """How a student is trained. Optimisers and schedules go by timm's names; rates are per step as timm takes them.

    `auto_augment` is timm's text (`rand-m9-mstd0.5-inc1`); where it is set, `color_jitter` does nothing, as in timm.
    `mixup_mode`: one lambda for a whole batch ("batch", timm's default) or one for each sample ("elem").
    `views`: "batched" (ours, on the device) or "timm" (timm's own loader: the reference input).
    `ema_warmup`: in step t the EMA's decay is min(ema_decay, 1 - t ** (-2 / 3)), for runs that are short beside its
    horizon of 1 / (1 - ema_decay) steps; without it ema_decay throughout.

    For tasks on whole images: `sizes` are the lengths in pixels of the shorter side, one of which is drawn for each
    view (none: the data's image size), `scale` the range of a factor on it, uniform. `milestones`: where a schedule
    of several steps decays. `warmup_steps` is warm-up in steps. `draft`: JPEG files are decoded for training at a
    half, a quarter or an eighth of their size where the shorter side keeps so many pixels (0: as they are), which is
    faster and shows less detail where a small part is cut out. `compiled`: steps run through torch.compile, whose sums
    round otherwise; minutes pass before the first one, and no teacher's pass is shared with other runs.
    """

    label = "recipe"
    epochs: int
    batch_size: int
    lr: float
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    schedule_per_epoch: bool = False
    min_lr: float = 0.0
    warmup_epochs: int = 0
    warmup_lr: float = 0.0
    decay_epochs: int = 30
    decay_rate: float = 0.1
    clip_grad: float = 0.0
    label_smoothing: float = 0.0
    crop_scale: tuple[float, float] = (1.0, 1.0)
    crop_ratio: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    interpolation: str = "bicubic"
    mixup: float = 0.0
    cutmix: float = 0.0
    mixup_mode: str = "batch"
    auto_augment: str = ""
    color_jitter: float = 0.0
    random_erasing: float = 0.0
    views: str = "batched"
    ema_decay: float = 0.0
    ema_warmup: bool = False
    precision: str = "fp32"
    sizes: tuple[int, ...] = later(())
    scale: tuple[float, float] = later((1.0, 1.0))
    milestones: tuple[int, ...] = later(())
    warmup_steps: int = later(0)
    draft: int = later(0)
    compiled: bool = later(False)

    _LEARNING: ClassVar = (
        "epochs", "lr", "optimizer", "momentum", "weight_decay", "schedule", "schedule_per_epoch", "min_lr",
        "warmup_epochs", "warmup_lr", "decay_epochs", "decay_rate", "clip_grad", "ema_decay", "ema_warmup",
        "precision", "milestones", "warmup_steps", "compiled",
    )  # fmt: skip

    @property
    def shown(self) -> tuple[Any, ...]:
        """Of two recipes that show the same images in the same views the same, whatever is made of them."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name not in self._LEARNING)

    def __post_init__(self) -> None:
        super().__post_init__()
        for names, (ok, allowed) in _ALLOWED.items():
            for name in names.split():
                value = getattr(self, name)
                _check(ok(value), f"recipe.{name}", value, allowed)
        _check(self.warmup_epochs < self.epochs, "recipe.warmup_epochs", self.warmup_epochs, f"below {self.epochs}")
        for name, high, allowed in (("crop_scale", 1.0, " <= 1"), ("crop_ratio", _LARGE, ""), ("scale", _LARGE, "")):
            low, top = value = getattr(self, name)
            _check(0 < low <= top <= high, f"recipe.{name}", value, f"0 < low <= high{allowed}")
        rising = all(a < b for a, b in zip((0, *self.milestones), self.milestones, strict=False))
        _check(rising, "recipe.milestones", self.milestones, "positive numbers, each larger than the one before")
        _check(not self.draft or self.views == "batched", "recipe.draft", self.draft, "0 where views is 'timm'")
        once = not (self.warmup_steps and self.warmup_epochs)
        _check(once, "recipe.warmup_steps", self.warmup_steps, "0 where warmup_epochs is set")


_LARGE = 1e6
_MOST_PIXELS = 1 << 14
_INTERPOLATIONS, _SCHEDULES = (
    ("bilinear", "bicubic", "random"),
    ("cosine", "tanh", "step", "multistep", "poly", "constant"),
)
_ALLOWED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "epochs batch_size decay_epochs": (lambda x: 0 < x <= _LARGE, f"a positive number, at most {_LARGE:g}"),
    "lr": (lambda x: x > 0, "a positive number"),
    "draft": (lambda x: 0 <= x <= _MOST_PIXELS, f"a number of pixels, at most {_MOST_PIXELS}; 0 is off"),
    "weight_decay min_lr warmup_epochs warmup_lr warmup_steps": (lambda x: x >= 0, "not negative"),
    "clip_grad mixup cutmix color_jitter": (lambda x: 0 <= x <= _LARGE, f"not negative, at most {_LARGE:g}; 0 is off"),
    "momentum label_smoothing ema_decay": (lambda x: 0 <= x < 1, "in [0, 1)"),
    "decay_rate": (lambda x: 0 < x <= 1, "in (0, 1]"),
    "flip random_erasing": (lambda x: 0 <= x <= 1, "a probability"),
    "sizes": (lambda x: all(0 < size <= _MOST_PIXELS for size in x), "positive numbers of pixels"),
    "interpolation": (lambda x: x in _INTERPOLATIONS, f"one of {', '.join(_INTERPOLATIONS)}"),
    "schedule": (lambda x: x in _SCHEDULES, f"one of {', '.join(_SCHEDULES)}"),
    "mixup_mode": (lambda x: x in ("batch", "elem"), "batch or elem"),
    "views": (lambda x: x in ("batched", "timm"), "batched or timm"),
    "precision": (lambda x: x in ("fp32", "bf16"), "fp32 or bf16"),
}
"""What fields of a recipe may be, beside their types."""


@dataclass(frozen=True)
class RunConfig(Part):
    """One training: everything that changes its result.

    The batch size of the recipe is global, so the number of workers is no field. The exception: a student with
    BatchNorm whose statistics cannot be shared (several CPU workers) has `unsynced_workers` > 1.
    `initial` is `timm:<name.tag>` when the student starts from timm's pretrained weights, `run:<run_id>` when it starts
    from the student that this run exported, `sha256:<hex>` when from the file with these bytes, else empty. A
    teacher's image size that is the data's is kept as 0.
    """

    student: str
    data: Data
    recipe: Recipe
    method: Method = field(default_factory=Method)
    teacher: Teacher | None = None
    seed: int = 0
    threads: int = 1
    initial: str = ""
    unsynced_workers: int = 1
    numerics: int = NUMERICS
    task: Task = later(default_factory=Task)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(0 < self.threads <= 1024, "threads", self.threads, "a positive number, at most 1024")
        _check(self.seed >= 0, "seed", self.seed, "not negative")
        _check(self.unsynced_workers > 0, "unsynced_workers", self.unsynced_workers, "a positive number")
        alone = teacherless(self.method.name)
        takes = f"method {self.method.name!r} takes {'none' if alone else 'one'}"
        _check(alone == (self.teacher is None), "teacher", self.teacher, takes)
        if self.teacher is not None and self.teacher.image_size == self.data.image_size:
            object.__setattr__(self, "teacher", replace(self.teacher, image_size=0))

    def to_json(self) -> str:
        """The canonical form: every field written out but those that joined later (`later`), keys sorted."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls.from_dict(json.loads(text))

    @property
    def run_id(self) -> str:
        """The run's address: 16 hexadecimal digits of the SHA-256 of its canonical form."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

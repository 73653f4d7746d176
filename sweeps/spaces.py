"""Search spaces: of each method the options that a search changes, what matters most first, and their ranges.

A space is data and part of a study's identity: `study.json` holds those that its searches were begun with, so that a
range that is changed here changes no study that has begun.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from pat.config import ConfigError, Part
from pat.options import plain


@dataclass(frozen=True)
class Range(Part):
    """A number between `low` and `high`, to four significant digits."""

    label = "range"
    low: float
    high: float

    def rounded(self, value: float) -> float:
        """A value as it is kept."""
        return four_digits(value)

    def place(self, value: float) -> float:
        """Where a value lies in the range, 0 and 1 being its ends."""
        raise NotImplementedError

    def at(self, part: float) -> float:
        """The value at a place from 0 to 1."""
        raise NotImplementedError


@dataclass(frozen=True)
class Log(Range):
    """One that is uniform in its logarithm."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.low < self.high:
            raise ConfigError(f"range {self.low} to {self.high}: two positive numbers, the lower one first")

    def place(self, value: float) -> float:
        return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)

    def at(self, part: float) -> float:
        return four_digits(self.low * (self.high / self.low) ** part)


@dataclass(frozen=True)
class Linear(Range):
    """One that is uniform."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high:
            raise ConfigError(f"range {self.low} to {self.high}: two numbers, the lower one first")

    def place(self, value: float) -> float:
        return max(0.0, (value - self.low) / (self.high - self.low))

    def at(self, part: float) -> float:
        return self.rounded(self.low + part * (self.high - self.low))

    def rounded(self, value: float) -> float:
        return min(self.high, max(self.low, four_digits(value)))

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), _LINEAR: True}


_LINEAR = "linear"
Space = Mapping[str, Range | tuple[Any, ...]]
"""Option -> its range, or the values among which it is chosen."""


def read_space(values: Mapping[str, Any]) -> Space:
    """A space from its JSON form."""
    return {name: _read_range(kind) if isinstance(kind, Mapping) else plain(kind) for name, kind in values.items()}


def _read_range(values: Mapping[str, Any]) -> Range:
    linear = values.get(_LINEAR, False)
    return (Linear if linear else Log).from_dict({key: value for key, value in values.items() if key != _LINEAR})


def write_space(space: Space) -> dict[str, Any]:
    """Its JSON form."""
    return {name: kind.to_dict() if isinstance(kind, Range) else kind for name, kind in space.items()}


def digest(space: Space) -> str:
    """What identifies a space and the order of its options: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(write_space(space)).encode()).hexdigest()[:16]


def distribution(kind: Range | tuple[Any, ...]) -> BaseDistribution:
    """The same as Optuna has it."""
    if isinstance(kind, Range):
        return FloatDistribution(kind.low, kind.high, log=isinstance(kind, Log))
    return CategoricalDistribution(kind)


def inside(kind: Range | tuple[Any, ...], value: Any) -> bool:
    """Whether a search could draw this value."""
    if isinstance(kind, Range):
        return isinstance(value, int | float) and kind.low <= value <= kind.high
    return value in kind


def place(kind: Range | tuple[Any, ...], value: Any) -> float:
    """Where a value lies in its range, from 0 to 1, on its scale or in the order of the choices; outside of the
    range at its end, what is no choice in the middle."""
    if isinstance(kind, Range):
        return min(1.0, kind.place(value))
    return (kind.index(value) + 0.5) / len(kind) if value in kind else 0.5


def at(kind: Range | tuple[Any, ...], part: float) -> Any:
    """The value at a place."""
    if isinstance(kind, Range):
        return kind.at(part)
    return kind[min(len(kind) - 1, int(part * len(kind)))]


def four_digits(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")


TEMPERATURE = Log(0.5, 8.0)
MASKED: Space = {
    "ratio": (0.45, 0.6, 0.75),
    "loss": ("smooth_l1", "mse", "cosine"),
    "positions": ("all", "masked"),
    "width": (128, 256, 512),
}
"""Of pre-training: each setting is one run, from which those of its search and its confirmation begin."""
PAT: Space = {
    "feature_weight": Log(0.001, 10.0),
    "kd_weight": Log(0.1, 10.0),
    "prompt_depth": (0, 1, 2, 3, 4),
    "temperature": TEMPERATURE,
    "regularisation_weight": Log(0.01, 10.0),
    "regions": (16, 36, 64),
}
SPACES: Mapping[str, Space] = {
    "kd": {"weight": Log(0.1, 10.0), "temperature": TEMPERATURE},
    "fitnet": {"weight": Log(0.01, 100.0), "kd_weight": (0.0, 0.3, 1.0, 3.0)},
    "reviewkd": {"weight": Log(0.1, 10.0)},
    "sokd": {
        "weight": Log(0.01, 100.0),
        "area_weight": Log(0.01, 1000.0),
        "head_weight": Log(0.01, 1000.0),
        "stages": (1, 2),
    },
    "cc": {"weight": Log(0.0005, 1.0), "form": ("adjacent", "kernel")},
    "rkd": {"distance_weight": Log(0.25, 250.0), "angle_weight": Log(0.5, 500.0)},
    "crd": {"weight": Log(0.05, 5.0), "temperature": Log(0.03, 0.3)},
    "dkd": {"alpha": Log(0.1, 10.0), "beta": Log(0.2, 20.0), "temperature": TEMPERATURE},
    "dist": {"beta": Log(0.1, 10.0), "gamma": Log(0.1, 10.0), "temperature": TEMPERATURE},
    "rsd": {"weight": Log(0.003, 3.0), "kappa": Log(0.0003, 0.3)},
    "nkd": {"weight": Log(0.1, 10.0), "gamma": Log(0.15, 15.0), "temperature": TEMPERATURE},
    "wttm": {"weight": Log(0.2, 80.0), "gamma": Log(0.05, 1.0), "weighted": (True, False)},
    "rld": {"alpha": Log(0.1, 10.0), "beta": Log(0.4, 40.0), "temperature": TEMPERATURE},
    "vkd": {"weight": Log(0.01, 100.0), "kd_weight": Log(0.1, 10.0), "temperature": TEMPERATURE},
    "uskd": {"alpha": Log(0.1, 10.0), "beta": Log(0.01, 1.0), "weak_weight": Log(0.0005, 0.5)},
    "ofa": {
        "weight": Log(0.01, 10.0),
        "kd_weight": Log(0.1, 10.0),
        "epsilon": Log(1.0, 2.0),
        "temperature": TEMPERATURE,
    },
    "fbt": {
        "teacher_student_weight": Log(0.1, 10.0),
        "teacher_assistant_weight": Log(0.1, 10.0),
        "assistant_student_weight": Log(0.1, 10.0),
        "epsilon": Log(1.0, 2.0),
        "detach_assistant": (False, True),
    },
    "pat": PAT,
    "pat_relational": PAT,
    "pat_hinted": {"hint_weight": Log(0.3, 30.0), **PAT},
    "spark": MASKED,
    "hgkd": MASKED,
}
"""Of a method that is not here nothing is searched, unless a study gives it a space or choices."""
_JOINED = ("pat_relational", "pat_hinted", "spark", "hgkd")
BEFORE: Mapping[str, Space] = {
    **{method: space for method, space in SPACES.items() if method not in _JOINED},
    "pat": {
        "prompt_depth": (0, 1, 2, 3, 4),
        "regions": (16, 36, 64),
        "kd_weight": Log(0.1, 10.0),
        "feature_weight": Log(0.01, 10.0),
        "regularisation_weight": Log(0.01, 10.0),
        "temperature": TEMPERATURE,
    },
}
"""Those of a `study.json` that says none, and so knows no method that has joined since."""

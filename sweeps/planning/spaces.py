"""Search spaces: one function of a trial for each method; names are those of the method's options.

`Draw` hands on to an Optuna trial what the study leaves open and returns what the study has fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from optuna.distributions import FloatDistribution
from optuna.trial import BaseTrial, FixedTrial

from pat.methods import method_options
from sweeps.configs import default_options
from sweeps.study import Cell, Study

Space = Callable[["Draw"], dict[str, Any]]
_spaces: dict[str, Space] = {}


class Draw:
    """An Optuna trial, the options that are fixed, and the values that replace a space's own."""

    def __init__(self, trial: BaseTrial, fixed: Mapping[str, Any], choices: Mapping[str, tuple[Any, ...]]) -> None:
        self._trial, self._fixed, self._choices = trial, fixed, choices

    def choice(self, name: str, *values: Any) -> Any:
        """One of `values`, or of those that the study names instead."""
        if name in self._choices:
            return self._trial.suggest_categorical(name, self._choices[name])
        return self._fixed[name] if name in self._fixed else self._trial.suggest_categorical(name, values)

    def log(self, name: str, low: float, high: float) -> float:
        """A number between `low` and `high`, uniform in its logarithm, to four significant digits."""
        if name in self._choices:
            return float(self.choice(name))
        if name in self._fixed:
            return float(self._fixed[name])
        return float(f"{self._trial.suggest_float(name, low, high, log=True):.4g}")


def register_space(space: Space) -> Space:
    """Make the space known under the function's name, which is the method's."""
    _spaces[space.__name__] = space
    return space


def searchable(method: str) -> bool:
    """Whether there is anything to search; if not, the default setting is also the tuned one."""
    return method in _spaces


def suggest(study: Study, cell: Cell, trial: BaseTrial) -> dict[str, Any]:
    """A complete setting of a cell's method, drawn from `trial`; what its space leaves alone is the cell's default, or
    one of the study's choices where it names some."""
    fixed, choices = study.options.get(cell.method, {}), study.choices.get(cell.method, {})
    draw = Draw(trial, fixed, choices)
    drawn = _spaces[cell.method](draw)
    drawn |= {name: draw.choice(name) for name in choices if name not in drawn}
    return method_options(cell.method, {**default_options(study, cell), **drawn})


def lies_in_space(study: Study, cell: Cell, options: Mapping[str, Any]) -> bool:
    """Whether the cell's search could draw exactly this complete setting."""
    replay = FixedTrial(dict(options))
    try:
        drawn = suggest(study, cell, replay)
    except ValueError:  # a choice that the cell does not have
        return False
    ranges = [
        (kind, options[name]) for name, kind in replay.distributions.items() if isinstance(kind, FloatDistribution)
    ]
    return drawn == dict(options) and all(kind.low <= value <= kind.high for kind, value in ranges)


@register_space
def kd(draw: Draw) -> dict[str, Any]:
    return {"weight": draw.log("weight", 0.1, 10.0), "temperature": draw.log("temperature", 0.5, 8.0)}


@register_space
def fitnet(draw: Draw) -> dict[str, Any]:
    return {"weight": draw.log("weight", 0.01, 100.0), "kd_weight": draw.choice("kd_weight", 0.0, 0.3, 1.0, 3.0)}


@register_space
def reviewkd(draw: Draw) -> dict[str, Any]:
    return {"weight": draw.log("weight", 0.1, 10.0)}


@register_space
def sokd(draw: Draw) -> dict[str, Any]:
    return {
        "weight": draw.log("weight", 0.01, 100.0),
        "area_weight": draw.log("area_weight", 0.01, 1000.0),
        "head_weight": draw.log("head_weight", 0.01, 1000.0),
        "stages": draw.choice("stages", 1, 2),
    }


@register_space
def cc(draw: Draw) -> dict[str, Any]:
    return {"weight": draw.log("weight", 0.0005, 1.0), "form": draw.choice("form", "adjacent", "kernel")}


@register_space
def rkd(draw: Draw) -> dict[str, Any]:
    return {
        "distance_weight": draw.log("distance_weight", 0.25, 250.0),
        "angle_weight": draw.log("angle_weight", 0.5, 500.0),
    }


@register_space
def crd(draw: Draw) -> dict[str, Any]:
    return {"weight": draw.log("weight", 0.05, 5.0), "temperature": draw.log("temperature", 0.03, 0.3)}


@register_space
def dkd(draw: Draw) -> dict[str, Any]:
    return {
        "alpha": draw.log("alpha", 0.1, 10.0),
        "beta": draw.log("beta", 0.2, 20.0),
        "temperature": draw.log("temperature", 0.5, 8.0),
    }


@register_space
def dist(draw: Draw) -> dict[str, Any]:
    return {
        "beta": draw.log("beta", 0.1, 10.0),
        "gamma": draw.log("gamma", 0.1, 10.0),
        "temperature": draw.log("temperature", 0.5, 8.0),
    }


@register_space
def rsd(draw: Draw) -> dict[str, Any]:
    return {"weight": draw.log("weight", 0.003, 3.0), "kappa": draw.log("kappa", 0.0003, 0.3)}


@register_space
def nkd(draw: Draw) -> dict[str, Any]:
    return {
        "weight": draw.log("weight", 0.1, 10.0),
        "gamma": draw.log("gamma", 0.15, 15.0),
        "temperature": draw.log("temperature", 0.5, 8.0),
    }


@register_space
def wttm(draw: Draw) -> dict[str, Any]:
    return {
        "weight": draw.log("weight", 0.2, 80.0),
        "gamma": draw.log("gamma", 0.05, 1.0),
        "weighted": draw.choice("weighted", True, False),
    }


@register_space
def rld(draw: Draw) -> dict[str, Any]:
    return {
        "alpha": draw.log("alpha", 0.1, 10.0),
        "beta": draw.log("beta", 0.4, 40.0),
        "temperature": draw.log("temperature", 0.5, 8.0),
    }


@register_space
def vkd(draw: Draw) -> dict[str, Any]:
    return {
        "weight": draw.log("weight", 0.01, 100.0),
        "kd_weight": draw.log("kd_weight", 0.1, 10.0),
        "temperature": draw.log("temperature", 0.5, 8.0),
    }


@register_space
def uskd(draw: Draw) -> dict[str, Any]:
    return {
        "alpha": draw.log("alpha", 0.1, 10.0),
        "beta": draw.log("beta", 0.01, 1.0),
        "weak_weight": draw.log("weak_weight", 0.0005, 0.5),
    }


@register_space
def ofa(draw: Draw) -> dict[str, Any]:
    return {
        "weight": draw.log("weight", 0.01, 10.0),
        "kd_weight": draw.log("kd_weight", 0.1, 10.0),
        "epsilon": draw.log("epsilon", 1.0, 2.0),
        "temperature": draw.log("temperature", 0.5, 8.0),
    }


@register_space
def fbt(draw: Draw) -> dict[str, Any]:
    return {
        "teacher_student_weight": draw.log("teacher_student_weight", 0.1, 10.0),
        "teacher_assistant_weight": draw.log("teacher_assistant_weight", 0.1, 10.0),
        "assistant_student_weight": draw.log("assistant_student_weight", 0.1, 10.0),
        "epsilon": draw.log("epsilon", 1.0, 2.0),
        "detach_assistant": draw.choice("detach_assistant", False, True),
    }


@register_space
def pat(draw: Draw) -> dict[str, Any]:
    return {
        "prompt_depth": draw.choice("prompt_depth", 0, 1, 2, 3, 4),
        "regions": draw.choice("regions", 16, 36, 64),
        "kd_weight": draw.log("kd_weight", 0.1, 10.0),
        "feature_weight": draw.log("feature_weight", 0.01, 10.0),
        "regularisation_weight": draw.log("regularisation_weight", 0.01, 10.0),
        "temperature": draw.log("temperature", 0.5, 8.0),
    }

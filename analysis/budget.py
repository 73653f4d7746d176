"""What a gain costs in all: a method's gain as the search of its setting goes on, and scratch given the same hours.

Costs are multiples of one scratch run of the student. A method is first its default setting, at the cost of a run and
of the pre-training that it begins with. After k trials of its search one would take the best setting so far, at the
cost of these trials, their pre-trainings among it, and of one run more.
Its gain is known from confirmations where that is the default setting or the one that the whole search has found; what
was best in between lies between them as its validation score does.

Scratch with the hours of m runs is m runs, of which the best on validation is taken. Where validation and test scores
of a student are normal over seeds, with one covariance in all students, that gains cov(val, test) / sd(val) times the
mean of the largest of m standard normal numbers: what the luck of the draw is worth, without any teacher.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from analysis.cells import join
from analysis.cost import device_hours, whole_hours
from analysis.frames import Frames
from analysis.order import order
from analysis.rectangle import PAIR
from analysis.searches import marked
from analysis.stats import Estimate, mean_gain

Array = NDArray[np.float64]

_GAIN = "gain_over_scratch"


class Path(NamedTuple):
    """How one cell's search goes on: after so many `times` a scratch run of its student, what part of the way from the
    default setting's gain to that of the setting found (`share`, 0 to 1) the best setting so far has gone."""

    times: Array
    share: Array

    def at(self, times: float) -> float:
        """The share that is bought for so much; 0 before the search has begun."""
        return float(np.append(0.0, self.share)[np.searchsorted(self.times, times * (1 + 1e-9), "right")])


class Bought(NamedTuple):
    """One method over the pairs that have both settings: its gains [pairs, seeds] with each, the paths of their
    searches, what a run of the default costs (`first` [pairs]), and each pair's scratch run in device-hours."""

    default: Array
    tuned: Array
    paths: list[Path]
    first: Array
    scratch: Array
    students: list[str]

    @property
    def begins(self) -> float:
        """From so many multiples on every pair has its default setting, mean over the pairs."""
        return float(self.first.mean())

    @property
    def ends(self) -> float:
        """What all searches have cost with a run each, mean over the pairs."""
        return float(np.mean([path.times[-1] for path in self.paths]))

    def gain(self, times: float) -> Estimate:
        """What is gained where each pair is given `times` its whole cost over `ends`: these pairs, other seeds."""
        part = times / self.ends
        share = np.array([path.at(part * path.times[-1]) for path in self.paths])[:, None]
        return mean_gain(self.default + share * (self.tuned - self.default), self.students)


def bought(frames: Frames) -> dict[str, Bought]:
    """What each searched method's gain has cost, methods in their order; none without a pair that has it all."""
    ids = pd.Index(frames.runs["run_id"])
    own, whole = (
        count(frames.runs, frames.gpu_share).set_axis(ids).astype(float) for count in (device_hours, whole_hours)
    )
    rows = frames.matrix[frames.matrix["run_id"].isin(frames.runs.loc[frames.runs["status"] == "finished", "run_id"])]
    hours = {name: rows["run_id"].map(each).astype(float) for name, each in (("own", own), ("whole", whole))}
    rows = rows.assign(**hours)  # of no rows, too, numbers
    scratch = rows[rows["setting"] == "scratch"].groupby("student")["whole"].mean()
    costs = rows[rows["setting"] != "scratch"].groupby([*PAIR, "method", "setting"])[["own", "whole"]].mean()
    trials = marked(frames.table("trials"), frames.matrix)
    trials["hours"] = trials["run_id"].map(whole)
    searched = {key: cell for key, cell in trials.groupby([*PAIR, "method"])}
    gains = frames.seed_gains.dropna(subset=_GAIN)
    found = {}
    for method in order(trials["method"]):
        wide = gains[gains["method"] == method].pivot(index=PAIR, columns=["setting", "seed"], values=_GAIN)
        if not {"default", "tuned"} <= set(wide.columns.get_level_values("setting")):
            continue
        wide = wide.dropna(axis=0)
        keys = [(teacher, student, method) for teacher, student in wide.index]
        kept = [place for place, key in enumerate(keys) if key in searched and scratch.get(key[1], 0.0) > 0]
        if not kept:
            continue
        keys, wide = [keys[place] for place in kept], wide.iloc[kept]
        base = np.array([scratch[key[1]] for key in keys])
        first = np.array([costs.at[(*key, "default"), "whole"] for key in keys]) / base
        last = np.array([costs.at[(*key, "tuned"), "own"] for key in keys]) / base  # its search has pre-trained it
        paths = [_path(searched[key], *cost) for key, cost in zip(keys, zip(base, last, strict=True), strict=True)]
        default, tuned = (wide[setting].to_numpy(float) for setting in ("default", "tuned"))
        found[method] = Bought(default, tuned, paths, first, base, [key[1] for key in keys])
    return found


def _path(trials: pd.DataFrame, scratch: float, run: float) -> Path:
    """Of one cell's `trials`, a scratch run's hours and the relative cost of a run of the setting found."""
    best = trials["best"].to_numpy(float)
    own = trials.loc[trials["default"] & (trials["status"] == "finished"), "score"]
    low, high = (float(own.iloc[0]) if len(own) else np.nan), best[-1]
    if low < high:
        share = np.nan_to_num(np.clip((best - low) / (high - low), 0.0, 1.0))
    else:  # the search has found nothing better than the default, or the default did not finish
        share = (best == high).astype(float)
    return Path(trials["hours"].cumsum().to_numpy(float) / scratch + run, share)


def luck(frames: Frames) -> float:
    """cov(val, test) / sd(val) of scratch runs over seeds, pooled over students, in points; NaN where no run keeps
    validation images or no student has two scratch runs."""
    rows = join(frames.matrix, frames.runs)
    rows = rows[(rows["setting"] == "scratch") & rows["score"].notna()]
    runs = frames.runs.set_index("run_id")
    known = {kind: rows["run_id"].map(runs[f"val_last_{kind}"]).astype(float) for kind in ("raw", "ema")}
    rows = rows.assign(val=known["ema"].where(rows["weights"] == "ema", known["raw"])).dropna(subset="val")
    inner = rows[["val", "score"]] - rows.groupby("student")[["val", "score"]].transform("mean")
    df = len(rows) - rows["student"].nunique()
    variance = float((inner["val"] ** 2).sum()) / df if df > 0 else np.nan
    if not variance > 0:
        return float("nan")
    return float((inner["val"] * inner["score"]).sum()) / df / float(np.sqrt(variance))


def largest(count: ArrayLike) -> Array:
    """The mean of the largest of so many standard normal numbers; between whole numbers the lower one's."""
    m = np.maximum(np.floor(np.asarray(count, float) + 1e-9), 1.0)
    x = np.linspace(-12.0, 12.0, 4001)
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    below = special.ndtr(x)
    return np.trapezoid(x * density * m[..., None] * below ** (m[..., None] - 1), x, axis=-1)

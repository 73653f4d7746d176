"""How often the intervals of `analysis.stats` hold what they should, and the corrections reject what they should not.

Simulated studies: the cells of each student are compared with the same scratch runs unless it says "own scratch". Every
arm of every cell has a standard deviation of 1 over seeds ("equal", "heavy": Student's t with 3 degrees of freedom,
scaled to 1), or one drawn from an inverse chi-square with 4 degrees of freedom ("unequal"). True gains vary over cells
with a standard deviation of 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.stats import (
    LEVEL,
    aggregates,
    bca,
    benjamini_hochberg,
    holm,
    image_part,
    interquartile_mean,
    mean_gain,
    mean_gain_of_pairs,
    moderated_t,
    paired,
    paired_t,
    performance_profile,
    seeds_and_images,
    trimmed_mean,
)
from tests.bench.compare import EXACT

Array = NDArray[np.float64]

KINDS = ("own scratch", "equal", "unequal", "heavy")
SHAPES = ((3, 3), (3, 12))
"""Students, and cells each."""
UNEVEN = (1, 3, 8)
"""Cells of each student, for what is over several cells."""
SEEDS = (2, 3, 5, 10)
STUDIES = 2000
_REUSED = 20
_RESAMPLES = 300
_THRESHOLDS = np.array([-1.5, -1.0, 0.0, 1.0, 2.0, 3.0, 3.5])
_FREEDOM = 4
TOLERANCE = EXACT
"""Simulated from fixed seeds."""


@dataclass(frozen=True)
class Population:
    """The cells of a study: each one's `student`, true gain `truth`, and the scales of its arms over seeds."""

    kind: str
    student: NDArray[np.int64]
    truth: Array
    method_scale: Array
    scratch_scale: Array

    @property
    def shared(self) -> bool:
        """Whether the cells of a student are compared with the same scratch runs."""
        return self.kind != "own scratch"

    @property
    def baselines(self) -> list[int]:
        return self.student.tolist() if self.shared else list(range(len(self.student)))

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Gains [cells, n] paired by seed."""
        cells, shared = len(self.student), self.shared
        method = noise(self.kind, (cells, n), rng) * self.method_scale[:, None]
        scratch = noise(self.kind, (len(self.scratch_scale) if shared else cells, n), rng)
        scratch = scratch[self.student] if shared else scratch
        return self.truth[:, None] + method - scratch * self.scratch_scale[self.student][:, None]


def report() -> dict[str, float]:
    """Prints each line; of each interval and n, and of each correction, the mean over all lines beside the nominal.

    A mean, because a line that changes changes it.
    """
    lines: defaultdict[str, list[float]] = defaultdict(list)
    for found in (_intervals(), _images(), _bootstrap(), _corrections()):
        for name, ratio in found:
            lines[name].append(ratio)
    return {name: float(np.mean(ratios)) for name, ratios in lines.items()}


def population(kind: str, sizes: Sequence[int], rng: np.random.Generator) -> Population:
    """As many students as `sizes` has numbers, with so many cells."""
    student = np.repeat(np.arange(len(sizes)), sizes)
    method, scratch = scales(kind, len(student), rng), scales(kind, len(sizes), rng)
    return Population(kind, student, 1 + rng.standard_normal(len(student)), method, scratch)


def scales(kind: str, count: int, rng: np.random.Generator) -> Array:
    return np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, count)) if kind == "unequal" else np.ones(count)


def noise(kind: str, shape: Sequence[int], rng: np.random.Generator) -> Array:
    return rng.standard_t(3, shape) / np.sqrt(3) if kind == "heavy" else rng.standard_normal(shape)


def of_cells(kind: str, students: int, each: int, n: int, studies: int) -> dict[str, float]:
    """Percent of true gains of cells inside their own intervals."""
    rng = np.random.default_rng([KINDS.index(kind), students, each, n])
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    for _ in range(studies):
        cells = population(kind, [each] * students, rng)
        gains = cells.draw(n, rng)
        table = moderated_t(gains, cells.baselines)
        plain = np.array([paired_t(row) for row in gains])
        hits["moderated t"] += _inside(table["low"], cells.truth, table["high"])
        hits["paired t"] += _inside(plain[:, 0], cells.truth, plain[:, 1])
    return _percent(hits)


def of_aggregates(kind: str, sizes: Sequence[int], n: int, studies: int) -> dict[str, float]:
    """Percent of studies whose true aggregate is inside its interval; the profile's over seven thresholds."""
    rng = np.random.default_rng([KINDS.index(kind), len(sizes), max(sizes), n, 1])
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    for study in range(studies):
        if study % _REUSED == 0:
            cells = population(kind, sizes, rng)
            runs = cells.draw(4000, rng)
            middle, shares = trimmed_mean(runs), np.mean(runs.ravel() > _THRESHOLDS[:, None], axis=1)
        gains = cells.draw(n, rng)
        names = cells.student.tolist()
        pairs = gains - cells.truth[:, None] + rng.standard_normal((len(gains), 1))
        mean, sample = mean_gain(gains, names), mean_gain_of_pairs(pairs, names)
        quartile = interquartile_mean(gains, names, resamples=_RESAMPLES)
        profile = performance_profile(gains, names, _THRESHOLDS, resamples=_RESAMPLES)
        hits["mean"] += _inside(mean.low, cells.truth.mean(), mean.high)
        hits["mean of such pairs"] += _inside(sample.low, 0.0, sample.high)
        hits["interquartile mean"] += _inside(quartile.low, middle, quartile.high)
        hits["profile"] += _inside(profile["low"], shares, profile["high"])
    return _percent(hits)


def of_images(kind: str, students: int, each: int, n: int, studies: int, images: int = 500) -> dict[str, float]:
    """Percent of true gains (over all seeds and images) inside the intervals from seeds x images and from seeds alone.

    A run is right about an image where a latent normal is positive: the method's level, the image's difficulty (sd
    1.2), what the arm makes of the image (0.4), the seed (0.05, heavy or unequal as `kind` says) and a rest (0.6).
    """
    rng = np.random.default_rng([KINDS.index(kind), students, each, n, 2])
    shared = kind != "own scratch"
    student = np.repeat(np.arange(students), each)
    spread = np.sqrt(1.2**2 + 0.4**2 + 0.6**2)
    quantiles = noise_quantiles(kind)
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    for _ in range(studies):
        difficulty = 1.2 * rng.standard_normal(images)
        correct, share = [], []
        for level, count in ((1.3, len(student)), (1.1, students if shared else len(student))):
            scale = 0.05 * scales(kind, count, rng)
            seed = noise(kind, (count, n), rng) * scale[:, None]
            arm = 0.4 * rng.standard_normal((count, 1, images)) + difficulty
            rest = 0.6 * rng.standard_normal((count, n, images), np.float32)
            correct.append((level + seed[:, :, None] + arm + rest > 0).astype(np.int8))
            share.append(special.ndtr((level + scale[:, None] * quantiles) / spread).mean(axis=1))
        base = student if shared else np.arange(len(student))
        differences = correct[0] - correct[1][base]
        truth = 100 * (share[0] - share[1][base])
        parts = np.array([image_part(cell) for cell in differences])
        table = moderated_t(100 * differences.mean(axis=2), base.tolist(), 100 / images)
        low, high, _ = seeds_and_images(
            table["mean"], table["error"] ** 2, table["df"], 100**2 * parts[:, 0], parts[:, 1],
            np.minimum(table["df"], n - 1),
        )  # fmt: skip
        hits["seeds x images"] += _inside(low, truth, high)
        hits["seeds alone"] += _inside(table["low"], truth, table["high"])
    return _percent(hits)


def noise_quantiles(kind: str) -> Array:
    """Evenly spaced quantiles of the seeds' noise, to average over it."""
    levels = (np.arange(400) + 0.5) / 400
    return special.stdtrit(3, levels) / np.sqrt(3) if kind == "heavy" else special.ndtri(levels)


def of_corrections(kind: str, students: int, each: int, n: int, studies: int, null: float) -> dict[str, float]:
    """Holm's family-wise error, and Benjamini and Hochberg's false discovery rate, in percent, where the share `null`
    of the cells gains nothing and the others 4."""
    rng = np.random.default_rng([KINDS.index(kind), students, each, n, 3])
    hits: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(studies):
        cells = population(kind, [each] * students, rng)
        zero = rng.permutation(len(cells.student)) < round(null * len(cells.student))
        gains = cells.draw(n, rng) - cells.truth[:, None] + np.where(zero, 0.0, 4.0)[:, None]
        p = moderated_t(gains, cells.baselines)["p"]
        plain = paired.t_interval(gains.mean(axis=1), gains.var(axis=1, ddof=1) / n, n - 1)[2]
        hits["Holm of paired t"].append(bool(((holm(plain) < 1 - LEVEL) & zero).any()))
        rejected = holm(p) < 1 - LEVEL
        hits["Holm, any false"].append(bool((rejected & zero).any()))
        found = benjamini_hochberg(p) < 1 - LEVEL
        hits["BH, share false"].append(float((found & zero).sum() / max(found.sum(), 1)))
        hits["true found"].append(float((rejected & ~zero).sum() / max((~zero).sum(), 1)))
    return _percent(hits)


def of_bca(kind: str, n: int, samples: int) -> float:
    """Percent of samples of one cell whose BCa interval holds the mean."""
    rng = np.random.default_rng([KINDS.index(kind), n, 4])
    intervals = (bca(noise(kind, (n,), rng) - noise(kind, (n,), rng)) for _ in range(samples))
    return 100 * float(np.mean([low <= 0 <= high for low, high in intervals]))


def _inside(low: object, truth: object, high: object) -> list[bool]:
    """NaN is no interval and counts as a miss."""
    return np.atleast_1d((np.asarray(low) <= truth) & (truth <= np.asarray(high))).ravel().tolist()


def _percent(hits: dict[str, list[bool]] | dict[str, list[float]]) -> dict[str, float]:
    return {name: 100 * float(np.mean(values)) for name, values in hits.items()}


def _intervals() -> Iterator[tuple[str, float]]:
    print(f"Coverage of {LEVEL:.0%} intervals in percent, {STUDIES} simulated studies a line, offered or not")
    for students, each in SHAPES:
        for kind in KINDS:
            for n in SEEDS:
                found = of_cells(kind, students, each, n, STUDIES) | _offered(kind, [each] * students, n)
                _line(kind, f"{students} x {each}", n, found)
                yield from _over_nominal(found, n, LEVEL)
    for kind in KINDS:
        for n in SEEDS:
            found = _offered(kind, UNEVEN, n)
            _line(kind, " + ".join(map(str, UNEVEN)), n, found)
            yield from _over_nominal(found, n, LEVEL)


def _offered(kind: str, sizes: Sequence[int], n: int) -> dict[str, float]:
    with mock.patch.multiple(aggregates, PAIR_SEEDS=2, PROFILE_SEEDS=2):
        return of_aggregates(kind, sizes, n, STUDIES)


def _images() -> Iterator[tuple[str, float]]:
    print("The same for gains on other test images, 500 of them")
    for students, each in SHAPES:
        for kind in KINDS:
            for n in SEEDS:
                found = of_images(kind, students, each, n, STUDIES // 4)
                _line(kind, f"{students} x {each}", n, found)
                yield from _over_nominal(found, n, LEVEL)


def _bootstrap() -> Iterator[tuple[str, float]]:
    with mock.patch.object(paired, "BCA_SEEDS", 2):
        for n in (2, 3, 5, 10, 20, 50):
            found = {kind: of_bca(kind, n, STUDIES) for kind in ("equal", "heavy")}
            text = "  ".join(f"{kind} {value:5.1f}" for kind, value in found.items())
            print(f"BCa of one cell at n = {n:<2}  {text}", flush=True)
            for value in found.values():
                yield from _over_nominal({"BCa": value}, n, LEVEL)


def _corrections() -> Iterator[tuple[str, float]]:
    print("Wrong decisions in percent (nominal: at most 5) where all, or 3 of 4, true gains are 0")
    for students, each in SHAPES:
        for kind in KINDS:
            for n in SEEDS:
                for null in (1.0, 0.75):
                    found = of_corrections(kind, students, each, n, STUDIES, null)
                    _line(kind, f"{students} x {each}", n, found, f" {null:.2f}")
                    del found["true found"]  # which has no nominal
                    yield from _over_nominal(found, n, 1 - LEVEL)


def _over_nominal(found: dict[str, float], n: int, nominal: float) -> Iterator[tuple[str, float]]:
    return ((f"{name}, n = {n}/over nominal", percent / 100 / nominal) for name, percent in found.items())


def _line(kind: str, shape: str, n: int, found: dict[str, float], more: str = "") -> None:
    text = "  ".join(f"{name} {value:5.1f}" for name, value in found.items())
    print(f"{shape:<9} {kind:<11} n = {n:<2}{more}  {text}", flush=True)

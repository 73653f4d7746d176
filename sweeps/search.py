"""How a cell is searched: how many settings, in which waves, who proposes them and which go on."""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose

from analysis.words import counted
from pat.config import ConfigError, Part, Recipe, later
from pat.errors import check_choice

_MOST = 100_000
SAMPLERS = ("tpe", "gp", "sobol", "random")


@dataclass(frozen=True)
class Search(Part):
    """The search of one cell: `trials` settings in waves of `wave` by successive halving; 0 trials: no search.

    After each rung (a share of the full-length run, the last one is 1) the best 1/`eta` of those that began it go on.
    The search is closed at the end of the wave with which `failures` of its runs have failed (not diverged).
    `sampler` proposes: Optuna's tree-structured Parzen estimators or Gaussian process, which learn from earlier waves;
    a Sobol sequence; independent draws. `prior`: draws are normal around the default, with this share of each option's
    range as deviation; with a sampler that learns, the first wave and every other setting of the further ones are so
    drawn, from a Sobol sequence. 0: no prior, the ranges are drawn from evenly.
    `ahead`: a wave is drawn from the scores up to this rung, while the one before goes on to its end; 1: after its end.
    `keep_default`: the default setting, which is the very first, takes a place among those that go on, at least two, so
    that what is chosen over it has beaten it at full length.
    `knobs`: so many settings are drawn for each option that is searched, what matters most first; 0: all at once.
    """

    label = "search"
    trials: int = 4
    wave: int = 4
    eta: int = 2
    rungs: tuple[float, ...] = (1 / 3, 1.0)
    failures: int = 3
    sampler: str = later("tpe")
    prior: float = later(0.0)
    ahead: float = later(1.0)
    keep_default: bool = later(False)
    knobs: int = later(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("wave", "trials", "eta", "failures", "knobs"):
            if (value := getattr(self, field)) > _MOST:
                raise ConfigError(f"search.{field} = {value}: at most {_MOST}")
        if self.wave < 1:
            raise ConfigError(f"search.wave = {self.wave}: a positive number")
        if self.trials < 0 or self.trials % self.wave:
            above = max(1, -(-self.trials // self.wave)) * self.wave
            raise ConfigError(f"search.trials = {self.trials}: 0, or whole waves of {self.wave}, for instance {above}")
        if self.eta < 2:
            raise ConfigError(f"search.eta = {self.eta}: 2 or more")
        if self.failures < 1:
            raise ConfigError(f"search.failures = {self.failures}: a positive number")
        ascending = all(low < high for low, high in zip(self.rungs, self.rungs[1:], strict=False))
        if not self.rungs or not ascending or self.rungs[0] <= 0 or not isclose(self.rungs[-1], 1):
            raise ConfigError(f"search.rungs = {self.rungs}: ascending shares of the run, the last one 1")
        check_choice("search.sampler", self.sampler, SAMPLERS)
        if not 0 <= self.prior <= 1:
            raise ConfigError(f"search.prior = {self.prior}: a share of each option's range in [0, 1]")
        if not any(isclose(self.ahead, rung) for rung in self.rungs):
            raise ConfigError(f"search.ahead = {self.ahead}: one of search.rungs, {self.rungs}")
        if self.knobs < 0:
            raise ConfigError(f"search.knobs = {self.knobs}: settings for each option that is searched, or 0")

    def epochs(self, full: int) -> tuple[int, ...]:
        """The rungs of a run of `full` epochs, in epochs."""
        return tuple(sorted({_epochs(share, full) for share in self.rungs}))

    def ahead_epochs(self, full: int) -> int:
        """The rung up to which the next wave must know the scores, in epochs."""
        return _epochs(self.ahead, full)

    def options(self, wave: int) -> int | None:
        """How many options of a space are searched in a wave; None: all."""
        return max(1, self.wave * (wave + 1) // self.knobs) if self.knobs else None

    def going_on(self, entrants: int, default: bool) -> int:
        """How many of those that began a rung go on; `default`: whether the default is among them."""
        return min(entrants, max(1 + (default and self.keep_default), entrants // self.eta))

    def finalists(self, rungs: tuple[int, ...], wave: int) -> int:
        """How many settings of a wave come to its end."""
        count = self.wave
        for _ in rungs[:-1]:
            count = self.going_on(count, not wave)
        return count

    def check_warmup(self, student: str, recipe: Recipe) -> None:
        """Raises ConfigError where scores of the first rung would be those of a warm-up."""
        first = self.epochs(recipe.epochs)[0]
        if self.trials and first <= recipe.warmup_epochs:
            raise ConfigError(
                f"search.rungs = {self.rungs}: the first one is at epoch {first} of {student!r}, inside its warm-up of "
                f"{counted(recipe.warmup_epochs, 'epoch')}; more than "
                f"{recipe.warmup_epochs / recipe.epochs:.3g} is needed"
            )


def _epochs(share: float, full: int) -> int:
    return max(1, round(share * full))

"""Whether a score says more than a constant answer: who guesses teaches nothing, and gains what its student does."""

from __future__ import annotations

import math
from typing import Final

DEVIATIONS: Final = 2.0
"""A score within so many standard errors above a constant answer's is not told from it."""


def at_chance(score: float | None, chance: float | None, images: int | None) -> bool:
    """Whether a score in percent, a mean over so many images, cannot be told from the best constant answer's.

    False where any of them is not known.
    """
    if score is None or chance is None or not images or math.isnan(score) or math.isnan(chance):
        return False
    share = chance / 100
    return score <= chance + 100 * DEVIATIONS * math.sqrt(share * (1 - share) / images)


def chance_line(who: str, score: float, chance: float) -> str:
    """What to tell a person of a model at chance."""
    return f"{who} is at chance: it scores {score:.2f} %, always the same answer {chance:.2f} %"

"""What a gain and its interval say, in one of four words."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.stats import LEVEL

SMALLEST = 0.5
"""Points: the smallest gain that anyone would care about."""

HELPS, NO_MATTER, UNKNOWN, HURTS = "helps", "does not matter", "not known", "hurts"
VERDICTS = (HELPS, NO_MATTER, UNKNOWN, HURTS)


def verdicts(gain: pd.Series, low: pd.Series, high: pd.Series, p: pd.Series) -> pd.Series:
    """One of VERDICTS for each gain (points), empty without one. `p` is corrected for however many there are.

    Does not matter: the interval lies within SMALLEST of 0, whatever its sign. Helps, hurts: `p` is below 0.05. What is
    neither is not known, which is not the same as no effect.
    """
    small = (low > -SMALLEST) & (high < SMALLEST)
    sure = p < 1 - LEVEL
    words = np.select(
        [gain.isna(), small, sure & (gain > 0), sure & (gain < 0)], ["", NO_MATTER, HELPS, HURTS], UNKNOWN
    )
    return pd.Series(words, gain.index, dtype=object)

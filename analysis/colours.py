"""The one palette of gains and the one rule for where it ends, in the page's matrix as in every figure."""

from __future__ import annotations

import numpy as np
import pandas as pd

LOSS, NONE, GAIN = "#e07b2f", "#ffffff", "#3f8fdd"
"""Orange loses, blue gains: told apart with every common kind of colour blindness, and both light enough for black."""


def end(gains: pd.Series) -> float:
    """Where the colours of `gains` (points) end: at the largest gain, in half points, the same for losses; where none
    gains, at the largest loss. What loses more than that has the last colour and a mark."""
    known = gains.dropna()
    most = float(known.max()) if (known > 0).any() else float(-known.min()) if len(known) else 1.0
    return max(0.5, float(np.ceil(2 * most - 1e-9) / 2))

"""All statistics of the cells of a study, from their paired differences to the columns that tables show."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from analysis.stats.images import seeds_and_images
from analysis.stats.moderated import moderated_t
from analysis.stats.multiple import benjamini_hochberg, holm
from analysis.stats.paired import Array, bca, paired_t, possible, sign_flip, sign_flip_offered

COLUMNS = (
    "n", "mean", "std", "error", "low", "high", "p", "df", "p_holm", "p_bh", "plain_low", "plain_high", "plain_p",
    "flip_p", "bca_low", "bca_high", "images_low", "images_high", "images_p",
)  # fmt: skip


def cell_statistics(
    differences: Array,
    baselines: Sequence[Hashable],
    resolution: float = 0.0,
    images: Array | None = None,
    primary: Sequence[bool] | None = None,
) -> pd.DataFrame:
    """One row of COLUMNS per cell from its `differences` [cells, seeds] in points, NaN where missing.

    * other seeds, this very test set: `low`, `high`, `p`, `df` of the moderated t over all cells (`baselines` and
      `resolution` as in `moderated_t`), `p_holm` and `p_bh` corrected over the `primary` cells (all, unless given) and,
      apart from them, over the others; `plain_*` the paired t of the cell alone; `flip_p` the sign-flip test where its
      smallest p can pass Holm's first step; `bca_*` the BCa bootstrap where there are seeds enough. NaN where not
      offered (`analysis.stats.offered`).
    * other seeds and other test images of the same distribution: `images_*`, from `images` [cells, 2], the variance
      and degrees of freedom of each cell's `image_part`, in squared points.

    No end lies where no gain can be.
    """
    table = moderated_t(differences, baselines, resolution)
    first = np.ones(len(table), dtype=bool) if primary is None else np.asarray(primary, dtype=bool)
    tests = np.empty(len(table))
    for rows in (first, ~first):
        table.loc[rows, "p_holm"], table.loc[rows, "p_bh"] = (
            correct(table.loc[rows, "p"]) for correct in (holm, benjamini_hochberg)
        )
        tests[rows] = table.loc[rows, "p"].notna().sum()
    kept = [row[~np.isnan(row)] for row in differences]
    plain = [paired_t(x) for x in kept]
    flips = [
        sign_flip(x) if sign_flip_offered(len(x), int(count)) else np.nan for x, count in zip(kept, tests, strict=True)
    ]
    boots = [bca(x) for x in kept]
    table[["plain_low", "plain_high", "plain_p"]] = np.array(plain).reshape(-1, 3)
    table["flip_p"] = np.array(flips, float)
    table[["bca_low", "bca_high"]] = np.array(boots).reshape(-1, 2)
    part = np.full((len(table), 2), np.nan) if images is None else images
    least = np.minimum(table["df"], table["n"] - 1)
    found = seeds_and_images(table["mean"], table["error"] ** 2, table["df"], part[:, 0], part[:, 1], least)
    for name, values in zip(("images_low", "images_high", "images_p"), found, strict=True):
        table[name] = values
    for kind in ("", "plain_", "bca_", "images_"):
        ends = possible(table[f"{kind}low"], table[f"{kind}high"])
        table[f"{kind}low"], table[f"{kind}high"] = ends
    return table[list(COLUMNS)]

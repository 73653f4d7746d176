"""Seeds x test images: the interval for other seeds and other test images of the same distribution.

The interval from seeds alone answers "what would other seeds have gained on this very test set?". This one answers
"... on another test set of as many images of the same distribution?" and is never narrower in variance.

The difference D[s, i] in {-1, 0, 1} of seed s on image i is taken as m + a_s + b_i + e_si, seeds and images crossed
and random (Searle, Casella and McCulloch 1992, "Variance Components", section 4.3). With mean squares of seeds, of
images and of the rest, the variance of the mean over n seeds and I images is

    (MS_seeds + MS_images - MS_rest) / (n I),

whose first term is the variance of the seeds' mean gains over n: there the moderated variance is put in, so that two
or three seeds suffice. What remains is the part of the images, floored at 0. Degrees of freedom: Satterthwaite (1946).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.stats.paired import LEVEL, Array, t_interval


def image_part(differences: NDArray[np.int8]) -> tuple[float, float]:
    """(variance, df) that the choice of test images adds to the mean of the `differences` [seeds, images] of one cell.

    The variance is in squared shares (times 100² for points), 0 with df 1 where the images differ no more
    than the rest. NaN for fewer than two seeds or images, which leave no rest.
    """
    n, images = differences.shape
    if n < 2 or images < 2:
        return float("nan"), float("nan")
    by_image = differences.sum(axis=0, dtype=np.int64)
    by_seed = differences.sum(axis=1, dtype=np.int64)
    total, squares = int(by_seed.sum()), int(np.count_nonzero(differences))
    centre = total**2 / (n * images)
    of_images = float(by_image @ by_image) / n - centre
    of_seeds = float(by_seed @ by_seed) / images - centre
    rest = squares - centre - of_images - of_seeds
    ms_images, ms_rest = of_images / (images - 1), rest / ((n - 1) * (images - 1))
    gap = ms_images - ms_rest
    if gap <= 1e-12:
        return 0.0, 1.0
    df = gap**2 / (ms_images**2 / (images - 1) + ms_rest**2 / ((n - 1) * (images - 1)))
    return gap / (n * images), df


def seeds_and_images(
    mean: ArrayLike,
    seed_variance: ArrayLike,
    seed_df: ArrayLike,
    image_variance: ArrayLike,
    image_df: ArrayLike,
    least_df: ArrayLike = 0.0,
    level: float = LEVEL,
) -> tuple[Array, Array, Array]:
    """(low, high, p) of each cell's `mean` [cells] from the two parts of its variance and their degrees of freedom,
    all in the unit of `mean` and its square. NaN where either part is not known.

    Where images differ hardly more than the rest, their part is next to nothing and its own degrees of freedom say that
    next to nothing is known of it; the sum is not less known than its seeds, whose degrees of freedom are `least_df`.
    """
    variance, df = satterthwaite(seed_variance, seed_df, image_variance, image_df)
    return t_interval(mean, variance, np.maximum(df, least_df), level)


def satterthwaite(
    first: ArrayLike, first_df: ArrayLike, second: ArrayLike, second_df: ArrayLike
) -> tuple[Array, Array]:
    """The sum of two independent variances and its degrees of freedom (Satterthwaite 1946, equation 17)."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    total = a + b
    with np.errstate(divide="ignore", invalid="ignore"):
        return total, total**2 / (a**2 / first_df + b**2 / second_df)

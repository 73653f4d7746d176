"""Intervals and tests for gains paired by seed, of single cells and over several; needs no torch and no Ray.

Which interval answers which question:

    one cell       other seeds, this very test set       moderated_t, paired_t, sign_flip, bca
    one cell       other seeds, other test images        seeds_and_images
    many cells     these pairs, other seeds              mean_gain, interquartile_mean, performance_profile
    many cells     pairs like these, same procedure      mean_gain_of_pairs; methods by rank: ranking
    many cells     do pairs truly differ, and by what     spread; each cell in the light of the others: shrink

From how many seeds and pairs on each is offered, with its measured coverage: `analysis.stats.offered`.
"""

from analysis.stats.aggregates import (
    Estimate,
    interquartile_mean,
    mean_gain,
    mean_gain_of_pairs,
    performance_profile,
    trimmed_mean,
)
from analysis.stats.cellwise import cell_statistics
from analysis.stats.images import image_part, seeds_and_images
from analysis.stats.moderated import Prior, effective_cells, estimate_prior, moderated_t, trigamma_inverse
from analysis.stats.multiple import benjamini_hochberg, holm
from analysis.stats.paired import LEVEL, bca, paired_t, sign_flip, sign_flip_offered
from analysis.stats.ranks import Ranking, alike, critical_difference, ranking
from analysis.stats.shrink import shrink
from analysis.stats.spread import Spread, spread

__all__ = [
    "LEVEL",
    "Estimate",
    "Prior",
    "Ranking",
    "Spread",
    "alike",
    "bca",
    "benjamini_hochberg",
    "cell_statistics",
    "critical_difference",
    "effective_cells",
    "estimate_prior",
    "holm",
    "image_part",
    "interquartile_mean",
    "mean_gain",
    "mean_gain_of_pairs",
    "moderated_t",
    "paired_t",
    "performance_profile",
    "ranking",
    "seeds_and_images",
    "shrink",
    "sign_flip",
    "sign_flip_offered",
    "spread",
    "trigamma_inverse",
    "trimmed_mean",
]

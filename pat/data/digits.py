"""scikit-learn's digits: 1,797 real 8x8 grey images of handwritten digits (the UCI set's test part), embedded."""

from __future__ import annotations

from pathlib import Path

import torch

from pat.config import Data
from pat.data.base import Parts, Split, register_dataset, validation_mask

TEST_SHARE, TEST_SALT = 0.25, 1
"""The source has no test split of its own: a quarter of each class, by the validation rule with another salt."""


@register_dataset("digits")
def load_digits(root: Path, data: Data) -> Parts:
    """Train (about 1,350) and test (about 450) images, grey levels 0-16 stretched to 0-255 on three channels."""
    from sklearn.datasets import load_digits as read_digits  # slow to import, and only this set needs it

    source = read_digits()
    grey = torch.from_numpy(source.images).mul(255 / 16).round().to(torch.uint8)
    images = grey[:, None].expand(-1, 3, -1, -1).contiguous()  # [N, 3, 8, 8]
    everything = Split(images, torch.from_numpy(source.target).long())
    test = validation_mask(everything.labels, TEST_SHARE, TEST_SALT)
    return Parts(everything.take(~test), everything.take(test), 10, classes=tuple("0123456789"))

"""Mean intersection over union of a whole set, from its confusion matrix."""

from __future__ import annotations

import torch
from torch import Tensor


def confusion(predicted: Tensor, truth: Tensor, num_classes: int, void: int) -> Tensor:
    """How many pixels of each true class (row) were given each class (column), int64 [C, C]. Add up those of batches.

    `predicted` and `truth` are integers of one shape, 0 to C - 1; pixels whose truth is `void` do not count.
    """
    counted = truth != void
    pairs = truth[counted].long() * num_classes + predicted[counted].long()
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def mean_iou(matrix: Tensor) -> float:
    """Percent: intersection over union, averaged over the classes that are somewhere, in truth or prediction."""
    hits = matrix.diagonal().double()
    union = matrix.sum(dim=0) + matrix.sum(dim=1) - matrix.diagonal()
    return 100 * float((hits / union)[union > 0].mean())


def pixel_accuracy(matrix: Tensor) -> float:
    """Percent of the counted pixels that were given their class."""
    return 100 * float(matrix.diagonal().sum().double() / matrix.sum())

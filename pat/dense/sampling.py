"""Which anchors and regions a detector learns from: matched with the boxes of an image, drawn by hash."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou


def match(boxes: Tensor, candidates: Tensor, low: float, high: float, each: bool = False) -> tuple[Tensor, Tensor]:
    """Which box each candidate answers for: (kinds int64 [N], index int64 [N] into `boxes`, 0 where it is none's).

    Kind 1: intersection over union of at least `high` with its best box; 0, background: less than `low` with each;
    -1, between the two: neither. `each`: the best candidates of each box are its own at any overlap.
    """
    if not len(boxes) or not len(candidates):
        none = torch.zeros(len(candidates), dtype=torch.int64, device=candidates.device)
        return none, none
    matcher = Matcher(high, low, allow_low_quality_matches=each)
    found = matcher(box_iou(boxes, candidates))
    kinds = (found >= 0).long() - (found == matcher.BETWEEN_THRESHOLDS).long()
    return kinds, found.clamp(min=0)


def balanced(kinds: Tensor, priority: Tensor, count: int, share: float) -> Tensor:
    """The candidates drawn, ascending: of kind 1 at most `share` of `count`, of kind 0 what is left of `count`.

    Of each kind those with the smallest `priority` (int64 [N]); hashed from what a candidate is, so that a draw is a
    function of the image alone. torchvision draws from torch's global generator.
    """
    positive, negative = (torch.where(kinds == kind)[0] for kind in (1, 0))
    positive = positive[priority[positive].argsort(stable=True)][: int(count * share)]
    negative = negative[priority[negative].argsort(stable=True)][: count - len(positive)]
    return torch.cat([positive, negative]).sort().values

"""What PAT compares of a stage: the student's aligned map, the prompted teacher's as its target, and what the prompts
did to that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pat.align import pooled
from pat.moments import moments, over, restandardised


@dataclass(frozen=True)
class Compared:
    """One stage: maps [B, C, h, w] as they are compared, 0 where they show nothing, and scalars over the global batch.

    `spread`: variance of the plain teacher's map as it is compared. `kept`: variance of the prompted teacher's map over
    the plain one's, as the teacher gives them. `explained`: R^2, the share of the target's variance that the student's
    map explains (0: as good as the target's mean; below: worse). `drift`: mean square of prompted minus plain map over
    the plain one's variance, with a gradient to the prompts.
    """

    student: Tensor
    target: Tensor
    spread: Tensor
    kept: Tensor
    explained: Tensor
    drift: Tensor


def compare(
    student: Tensor,
    prompted: Tensor,
    plain: Tensor,
    shown: Tensor | None = None,
    grid: Sequence[int] = (),
    restandardise: bool = False,
) -> Compared:
    """A stage's maps [B, C, H, W], all of one shape.

    `shown` [B, 1, H, W]: where they show the image, None: everywhere. `grid`: they are compared as averages over its
    cells, empty: position by position. `restandardise`: the target is the prompted map with the plain one's mean and
    variance in each channel.
    """
    own, like = moments(prompted, shown), moments(plain, shown)
    drift = over(moments(prompted.float() - plain.float(), shown).square, like.spread)
    target = restandardised(prompted.float(), own, like) if restandardise else prompted
    maps = [student, target, plain] if shown is None else [x * shown for x in (student, target, plain)]
    if grid:
        maps = [pooled(x, grid) for x in maps]
        shown = None if shown is None else pooled(shown.float(), grid) > 0
    with torch.no_grad():
        spread = moments(maps[2], shown).spread if grid else like.spread
        missed, of_target = moments(maps[0].float() - maps[1].float(), shown).square, moments(maps[1], shown).spread
        explained = torch.where(of_target > 0, 1 - over(missed, of_target), 0.0)
        return Compared(maps[0], maps[1], spread, over(own.spread, like.spread), explained, drift)

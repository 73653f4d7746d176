"""Hints for a student's own maps, on the coarser of two grids."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pat.align import Aligner, Shape, pooled
from pat.losses import hint_loss, over_stages


class Hints(nn.Module):
    """Projected maps of a student against a teacher's: the mean over the stages of the mean square over a variance.

    `stages`: the shapes of the student's and the teacher's map of each, at the nominal canvas. The student's map is
    normalised and projected position by position, and whichever of both is finer is averaged over the other's cells:
    what no position of the student could express is not asked for. Where the maps of all models have one shape
    (`common`), nothing is learnt.
    """

    def __init__(self, stages: Sequence[tuple[Shape, Shape]], common: bool) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Identity() if common else Aligner(own[0], like[0]) for own, like in stages)

    def forward(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], spreads: Sequence[Tensor], shown: Sequence[Tensor]
    ) -> Tensor:
        """Of maps [B, C, h, w] and [B, D, H, W]. `spreads`: the variances, a scalar for each stage. `shown` bool
        [B, 1, H, W]: where the teacher's maps show the image; empty: everywhere."""
        places: Sequence[Tensor | None] = shown or [None] * len(teacher)
        losses = []
        for project, own, like, at in zip(self.project, student, teacher, places, strict=True):
            size = [min(a, b) for a, b in zip(own.shape[-2:], like.shape[-2:], strict=True)]
            found, target = pooled(project(own), size), pooled(like, size)
            if at is not None:
                seen = pooled(at.float(), size) > 0
                found, target = found * seen, target * seen
            losses.append(hint_loss(found, target))
        return over_stages(losses, spreads)

"""What PAT compares of a stage: the student's aligned map, the prompted teacher's as its target, and what the prompts
did to that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import torch
from torch import Tensor

from pat.align import pooled
from pat.moments import Asked, Moments, all_moments, over, restandardised


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
    student: Sequence[Tensor],
    prompted: Sequence[Tensor],
    plain: Sequence[Tensor],
    shown: Sequence[Tensor] = (),
    grids: Sequence[Sequence[int]] = (),
    restandardise: bool = False,
    drift_learns: bool = True,
) -> list[Compared]:
    """The maps [B, C, H, W] of all stages, those of a stage of one shape.

    `shown` [B, 1, H, W]: where they show the image, empty: everywhere. `grids`: they are compared as averages over its
    cells, empty: position by position. `restandardise`: the target is the prompted map with the plain one's mean and
    variance in each channel. `drift_learns`: whether drift has its gradient. Workers exchange the moments of all stages
    at once, with `restandardise` in two turns.
    """
    places: Sequence[Tensor | None] = shown or [None] * len(plain)
    taught = prompted if drift_learns else _fixed(prompted)
    asked = {
        "prompted": _spreads(_fixed(prompted), places),
        "plain": _spreads(plain, places),
        "moved": [*map(Asked, taught, places, plain)],
    }
    found, targets = dict[str, list[Moments]](), prompted
    if restandardise:
        asked |= {"prompted": [*map(Asked, prompted, places)], "plain": [*map(Asked, plain, places)]}
        found, asked = _measured(asked), {}
        moments = zip(prompted, found["prompted"], found["plain"], strict=True)
        targets = [restandardised(x.float(), own, like) for x, own, like in moments]
    sides = [*map(_as_compared, student, targets, plain, places, grids or [()] * len(plain))]
    own, target, cells = (_fixed(maps) for maps in zip(*(maps for maps, _ in sides), strict=True))
    places = [at for _, at in sides]
    asked["missed"] = [*map(Asked, own, places, target)]
    if grids or restandardise:  # else its moments are the prompted map's
        asked["target"] = _spreads(target, places)
    if grids:
        asked["cells"] = _spreads(cells, places)
    found |= _measured(asked)
    given = (found.get(name, found[other]) for name, other in (("target", "prompted"), ("cells", "plain")))
    measured = zip(sides, found["prompted"], found["plain"], found["moved"], found["missed"], *given, strict=True)
    return [_compared(maps[0], maps[1], *moments) for (maps, _), *moments in measured]


def _spreads(maps: Sequence[Tensor], shown: Sequence[Tensor | None]) -> list[Asked]:
    return [Asked(x, at, spread=True) for x, at in zip(maps, shown, strict=True)]


def _measured(asked: Mapping[str, list[Asked]]) -> dict[str, list[Moments]]:
    """The moments of each list of maps."""
    found = iter(all_moments([*chain.from_iterable(asked.values())]))
    return {name: [*islice(found, len(maps))] for name, maps in asked.items()}


def _fixed(maps: Sequence[Tensor]) -> Sequence[Tensor]:
    return [x.detach() for x in maps]


def _as_compared(
    student: Tensor, target: Tensor, plain: Tensor, shown: Tensor | None, grid: Sequence[int]
) -> tuple[list[Tensor], Tensor | None]:
    """The three maps of a stage at the size at which they are compared, and where they are shown."""
    maps = [student, target, plain]
    if shown is not None:
        maps = [x * shown for x in maps]
    if grid:
        maps = [pooled(x, grid) for x in maps]
        shown = None if shown is None else pooled(shown.float(), grid) > 0
    return maps, shown


def _compared(
    student: Tensor,
    target: Tensor,
    own: Moments,
    like: Moments,
    moved: Moments,
    missed: Moments,
    of_target: Moments,
    of_plain: Moments,
) -> Compared:
    """`own` and `like`: of the prompted and the plain map as the teacher gives them."""
    spread = like.spread
    drift = over(moved.square, spread)
    with torch.no_grad():
        varies = of_target.spread
        explained = torch.where(varies > 0, 1 - over(missed.square, varies), 0.0)
        return Compared(student, target, of_plain.spread, over(own.spread, spread), explained, drift)

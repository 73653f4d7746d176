"""Whether a model is exact when it is sparse: tried out on an island of visible cells, on a small copy of the model.

What a sparse model makes of a rectangle of visible cells must be what the plain model makes of the image cut to it,
since padding outside of an image and holes beside a cell are the same nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from pat.layouts import Size
from pat.models import create_model
from pat.replay import Key, intercepted, leaf_of
from pat.sparse import Sparse, SparseError, Visible
from pat.taps import StageTaps

TOLERANCE = 1e-6
"""Relative to the largest value of a map, in float64. Exact models differ by 1e-13, or more where norms of few values
follow each other a hundred times; the mildest leaks by 1e-5."""
GRID: Size = (3, 4)
ISLAND = (1, 1, 1, 2)
"""Top, left, height and width in cells: nothing visible beside it on three sides, the image's edge nowhere near."""
IMAGES = 2
NEARLY_ZERO = 1e-3
ISLAND_IMAGE: Size = (96, 128)
"""At which the stages of a model are found: three by four cells of 32 pixels."""


@dataclass
class _Record:
    """What went into and came out of every call: the one in which it happened, then the first tensor of each."""

    seen: dict[Key, tuple[Key | None, Tensor | None, Tensor | None]] = field(default_factory=dict)
    within: list[Key] = field(default_factory=list)
    """The calls that are not over; after an error, those in which it happened."""

    def __call__(self, key: Key, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        holder, given = self.within[-1] if self.within else None, _copy((args, kwargs))
        self.within.append(key)
        output = forward(*args, **kwargs)
        self.within.pop()
        self.seen[key] = holder, given, _copy(output)
        return output


@lru_cache(maxsize=256)
def check_sparse(name: str) -> None:
    """Raises SparseError, one line that names the module in the way, unless timm's model `name` can be sparse.

    It is tried out in train mode, where statistics are computed. Takes seconds, once in a process; torch's generator is
    left as it was, so that what is drawn next does not depend on whether this was the first time.
    """
    with torch.random.fork_rng(devices=[]):
        model = create_model(name, 0, ISLAND_IMAGE)
    if problem := find_leak(Sparse(StageTaps(model, ISLAND_IMAGE))):
        raise SparseError(f"model {name!r} cannot be sparse: {problem}; choose another CNN (resnet, convnext …)")


def find_leak(sparse: Sparse, train: bool = True) -> str:
    """The module in which visible positions are not computed of visible ones alone, and how; empty where none is.

    In float64, on copies without weights that are nearly zero, as those that begin so hide what passes through them;
    without dropout.
    """
    dense, island = (_awake(sparse.taps, train) for _ in range(2))
    top, left, height, width = ISLAND
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, 3, *(side * sparse.cell for side in GRID), generator=generator, dtype=torch.float64)
    cut = images[..., top * sparse.cell :, left * sparse.cell :][..., : height * sparse.cell, : width * sparse.cell]
    rows, columns = torch.arange(top, top + height), torch.arange(left, left + width)
    cells = (rows[:, None] * GRID[1] + columns).flatten().expand(IMAGES, -1)
    plain, masked = _Record(), _Record()
    try:
        _run(dense, cut, plain)
    except Exception as error:  # models raise many kinds where a size does not suit them
        where = _named(dense.model, plain.within[-1] if plain.within else None)
        return f"{where} takes no images of {cut.shape[2]}x{cut.shape[3]} px ({_line(error)})"
    try:
        with Sparse(island).during(Visible(cells, GRID)):
            _run(island, images, masked)
    except Exception as error:
        return f"{_named(island.model, masked.within[-1] if masked.within else None)}: {_line(error)}"
    end, done = (sparse.taps.stages[-1].end, 0), set[str]()
    for key, (_, _, found) in masked.seen.items():
        if _differ(found, plain.seen[key][2]):
            return f"{_named(island.model, _culprit(key, masked, plain))} mixes visible and hidden positions"
        done.add(key[0])
        if key == end:
            break
    return _statistics(dense.model, island.model, done)


def _culprit(key: Key, masked: _Record, plain: _Record) -> Key | None:
    """The innermost call that was given the right positions and gave others."""
    holder, given, _ = masked.seen[key]
    if not _differ(given, plain.seen[key][1]):
        return key
    return None if holder is None else _culprit(holder, masked, plain)


def _run(taps: StageTaps, images: Tensor, record: _Record) -> None:
    names = [name for name, _ in taps.model.named_modules() if name]
    with torch.no_grad(), intercepted(taps.model, names, record):
        taps.model(images)


def _awake(taps: StageTaps, train: bool) -> StageTaps:
    """A copy in float64 without a weight that is nearly zero, in eval mode but for what has running statistics."""
    copied = copy.deepcopy(taps)
    model = copied.model.cpu().double().eval()
    generator = torch.Generator().manual_seed(1)
    for tensor in (*model.parameters(), *(x for name, x in model.named_buffers() if name.endswith("running_mean"))):
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64) / 10
        tensor.data = torch.where(tensor.abs() < NEARLY_ZERO, noise, tensor)
    for module in model.modules():
        module.training = train and getattr(module, "num_batches_tracked", None) is not None
    return copied


def _differ(found: Tensor | None, wanted: Tensor | None) -> bool:
    """Whether the island of a map (of any layout), or what is pooled of it, is another; what cannot be told is not."""
    if found is None or wanted is None or found.ndim != wanted.ndim:
        return False
    island = found
    if found.ndim == 4 and found.shape != wanted.shape:
        axes = (2, 3) if found.shape[1] == wanted.shape[1] else (1, 2)
        for axis, start, cells, all_cells in zip(axes, ISLAND[:2], ISLAND[2:], GRID, strict=True):
            size = found.shape[axis]
            if size % all_cells or size // all_cells * cells != wanted.shape[axis]:
                return False
            island = island.narrow(axis, size // all_cells * start, wanted.shape[axis])
    return island.shape == wanted.shape and not bool((island - wanted).abs().max() <= TOLERANCE * wanted.abs().max())


def _statistics(dense: nn.Module, island: nn.Module, done: Collection[str]) -> str:
    """The first of the modules whose running statistics are others; empty where all are the same."""
    for (name, own), other in zip(island.named_buffers(), dense.buffers(), strict=True):
        module, moves = name.rpartition(".")[0], own.is_floating_point()
        if module in done and moves and not torch.allclose(own, other, rtol=TOLERANCE, atol=TOLERANCE):
            return f"{_named(island, (module, 0))} has statistics of hidden positions"
    return ""


def _named(model: nn.Module, key: Key | None) -> str:
    if key is None:
        return "its own code"
    return f"{key[0]!r} ({type(model.get_submodule(key[0])).__name__})"


def _copy(tree: Any) -> Tensor | None:
    try:
        first = leaf_of(tree, 0)
    except IndexError:
        return None
    return first.detach().clone() if isinstance(first, Tensor) and first.is_floating_point() else None


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

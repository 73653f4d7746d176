"""A CNN that sees some cells of an image alone: sparse convolution by masking, in any CNN of timm.

Three rules on the calls of its own modules. What mixes positions (convolutions, pooling) finds nothing in the holes;
what has statistics over positions (norms), and what pools a map to change it (squeeze and excitation, global response
normalisation), is given the visible positions alone; the rest acts position by position and is left as it is.

The masking is that of SparK, Tian et al. 2023 (arXiv 2301.03580), section 3.1, without other modules or weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf, prod
from typing import Any

import torch
from timm.layers import EvoNorm2dB0, EvoNorm2dS0, FilterResponseNormAct2d, FilterResponseNormTlu2d
from timm.layers.grn import GlobalResponseNorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from pat.errors import ConfigError
from pat.layouts import Size
from pat.replay import Call, Key, intercepted, probing, trace
from pat.taps import StageTaps, Tapped

NORMS = (
    _BatchNorm,
    _InstanceNorm,
    nn.GroupNorm,
    EvoNorm2dB0,
    EvoNorm2dS0,
    FilterResponseNormAct2d,
    FilterResponseNormTlu2d,
    GlobalResponseNorm,
)
"""Modules that compute statistics over positions."""


class SparseError(ConfigError):
    """A model that cannot be sparse; the message names it and the module that is in the way."""


class Visible:
    """The visible cells of a batch of images: `cells` int64 [B, n], places in a `grid` (h, w), as many in each image.

    Whatever map it is asked about, a cell is the same rectangle of the image.
    """

    def __init__(self, cells: Tensor, grid: Size) -> None:
        self.cells, self.grid = cells, grid
        self._hidden: dict[Size, Tensor] = {}
        self._index: dict[Size, Tensor] = {}

    @property
    def share(self) -> float:
        """The share of cells that is visible."""
        return self.cells.shape[1] / prod(self.grid)

    def hidden(self, size: Size) -> Tensor:
        """The holes in a map of `size` (h, w): bool [B, 1, h, w]."""
        if size not in self._hidden:
            holes = torch.ones(len(self.cells), prod(self.grid), dtype=torch.bool, device=self.cells.device)
            holes = holes.scatter(1, self.cells, False).view(-1, 1, *self.grid)
            rows, columns = self._positions(size)
            self._hidden[size] = holes.repeat_interleave(rows, 2).repeat_interleave(columns, 3)
        return self._hidden[size]

    def index(self, size: Size) -> Tensor:
        """The visible positions of a map of `size` (h, w), cell by cell: int64 [B, positions]."""
        if size not in self._index:
            rows, columns = self._positions(size)
            row, column = self.cells // self.grid[1], self.cells % self.grid[1]
            inside = torch.arange(rows * columns, device=self.cells.device)
            y = row[..., None] * rows + inside // columns
            x = column[..., None] * columns + inside % columns
            self._index[size] = (y * size[1] + x).flatten(1)
        return self._index[size]

    def gathered(self, x: Tensor) -> Tensor:
        """The visible positions of a map [B, C, h, w]: [B, C, positions]."""
        index = self.index((x.shape[2], x.shape[3]))
        return x.flatten(2).gather(2, index[:, None].expand(-1, x.shape[1], -1))

    def scattered(self, values: Tensor, size: Size) -> Tensor:
        """A map [B, C, h, w] with these at its visible positions [B, C, positions], 0 in the holes."""
        index = self.index(size)[:, None].expand_as(values)
        return values.new_zeros(*values.shape[:2], prod(size)).scatter(2, index, values).unflatten(2, size)

    def _positions(self, size: Size) -> Size:
        """Height and width of a cell in a map of `size`. Raises SparseError where that is no whole number."""
        (height, width), (rows, columns) = size, self.grid
        if height % rows or width % columns:
            raise SparseError(f"a map of {height} x {width} positions cannot be cut into {rows} x {columns} cells")
        return height // rows, width // columns


class Sparse:
    """The model of `taps`, for images of which only some cells are visible. It has no weights or modules of its own.

    `cell`: the side of a cell in pixels, the stride of the last stage. Features of visible cells are what the model
    computes of them where the holes are outside of the image; statistics are those of visible positions; what a map
    holds in the holes means nothing. The model itself is unchanged: `sparse.taps(images)` is the plain pass.
    """

    def __init__(self, taps: StageTaps) -> None:
        self.taps = taps
        self.cell = taps.stages[-1].stride
        with probing(taps.model), torch.no_grad():
            calls, _ = trace(taps.model, taps.probe_images(), lambda key, output: None)
        self._rules = _rules(taps.model, calls)

    def __call__(self, images: Tensor, visible: Visible) -> Tapped:
        """Logits, which mean nothing, and the stages' maps of images [B, 3, H, W]. What they hold in the holes is not
        read. Raises SparseError where a map has no whole positions in each cell."""
        with self.during(visible):
            return self.taps(images.masked_fill(visible.hidden((images.shape[2], images.shape[3])), 0))

    @contextmanager
    def during(self, visible: Visible) -> Iterator[None]:
        """While open, every forward of the model is a sparse one."""

        def step(key: Key, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            x, rule = args[0], self._rules[key[0]]
            if _pooled(x.shape) != (rule is _rescaled):
                return forward(*args, **kwargs)
            return rule(visible, lambda x: forward(x, *args[1:], **kwargs), x)

        with intercepted(self.taps.model, self._rules, step):
            yield


Forward = Callable[[Tensor], Tensor]


def _emptied(visible: Visible, forward: Forward, x: Tensor) -> Tensor:
    """Nothing in the holes: what padding has outside of the image."""
    return forward(x.masked_fill(visible.hidden((x.shape[2], x.shape[3])), 0))


def _bottomed(visible: Visible, forward: Forward, x: Tensor) -> Tensor:
    """What is no maximum in the holes, and nothing there afterwards: infinity would make gradients nan."""
    y = forward(x.masked_fill(visible.hidden((x.shape[2], x.shape[3])), -inf))
    return y.masked_fill(visible.hidden((y.shape[2], y.shape[3])), 0)


def _gathered(visible: Visible, forward: Forward, x: Tensor) -> Tensor:
    """The visible positions [B, C, 1, positions] alone, and put back."""
    return visible.scattered(forward(visible.gathered(x)[:, :, None])[:, :, 0], (x.shape[2], x.shape[3]))


def _gathered_last(visible: Visible, forward: Forward, x: Tensor) -> Tensor:
    """The same of a map [B, h, w, C]."""

    def channels_last(y: Tensor) -> Tensor:
        return forward(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    return _gathered(visible, channels_last, x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _rescaled(visible: Visible, forward: Forward, x: Tensor) -> Tensor:
    """A mean over all positions, nothing being in the holes, as one over those that are visible."""
    return forward(x / visible.share)


def _rules(model: nn.Module, calls: list[Call]) -> dict[str, Any]:
    """What is done about each module, by its name; `calls` are those of a plain forward."""
    modules = dict(model.named_modules())
    mixing = {name: rule for name, module in modules.items() if (rule := _mixing(module)) is not None}
    whole: dict[str, Any] = {}
    for call in sorted(calls, key=lambda call: call.enter):
        name = call.key[0]
        if _below(name, whole) or name in mixing:
            continue
        module = modules[name]
        if isinstance(module, NORMS):
            whole[name] = _gathered_last if getattr(module, "channel_dim", 1) == -1 else _gathered
        elif _changes_by_pooling(call, calls) and not any(_below(other, {name: None}) for other in mixing):
            whole[name] = _gathered
    rules = {name: rule for name, rule in mixing.items() if not _below(name, whole)} | whole
    return rules | {name: _rescaled for name in _pooled_in_code(calls) if not _below(name, whole) and name not in rules}


def _mixing(module: nn.Module) -> Any:
    """The rule for a module that mixes neighbouring positions; None for others."""
    if isinstance(module, nn.Conv2d):
        return _emptied if max(module.kernel_size) > 1 else None
    if isinstance(module, _MaxPoolNd):
        return _bottomed
    return _emptied if isinstance(module, _AvgPoolNd) else None


def _below(name: str, whole: dict[str, Any]) -> bool:
    """Whether a module is inside one of those."""
    parts = name.split(".")
    return any(".".join(parts[:depth]) in whole for depth in range(1, len(parts)))


def _pooled(shape: torch.Size) -> bool:
    """Whether it is one value a channel, not a map."""
    return len(shape) < 4 or 1 in (prod(shape[1:3]), prod(shape[2:4]))


def _changes_by_pooling(call: Call, calls: list[Call]) -> bool:
    """Whether a module takes a map, gives one of its shape, and has one inside that works on what is pooled."""
    first = _first(call.inputs)
    if first is None or _pooled(first) or len(first) != 4 or call.outputs != (first,):
        return False
    inner = (_first(other.inputs) for other in calls if call.holds(other))
    return any(shape is not None and _pooled(shape) for shape in inner)


def _pooled_in_code(calls: list[Call]) -> set[str]:
    """The modules whose input a model's own code has pooled: no module has put out that shape just before."""
    found, before = set(), None
    for call in calls:
        first, leaf = _first(call.inputs), call.exit == call.enter + 1
        if leaf and first is not None and len(first) == 4 and _pooled(first) and before != first:
            found.add(call.key[0])
        before = _first(call.outputs)
    return found


def _first(shapes: tuple[torch.Size | None, ...]) -> torch.Size | None:
    return shapes[0] if shapes else None

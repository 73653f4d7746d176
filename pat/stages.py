"""Where the four stages of a timm model begin and end, read from its own data and one traced forward."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pat.layouts import Layout, Size, matching, read_layouts, sizes_at
from pat.named_stages import TapError as TapError
from pat.named_stages import named_stages
from pat.replay import Call, Key, leaf_of, trace, versions, written

DEPTH = 12
CUTS = (2, 4, 10, 12)
"""An isotropic model of 12 blocks is cut after these (PAT, OFA-KD); other depths in proportion."""


@dataclass(frozen=True)
class Port:
    """A tensor that holds a map: which call, which leaf of its output (or input), and how it is laid out."""

    key: Key
    leaf: int
    layout: Layout


@dataclass(frozen=True)
class Span:
    """A stage: the input of the module that it starts with, and the output of the module that it ends with.

    `overwritten`: the model may write into that output later, so whoever wants it has to copy it.
    """

    start: Port
    end: Port
    stride: int
    overwritten: bool


@dataclass(frozen=True)
class _Entry:
    """One line of timm's `feature_info`: what it says about a feature of the model. `index` is its place there."""

    index: int
    module: str
    channels: int
    stride: int


def find_spans(model: nn.Module, images: Tensor) -> tuple[list[Call], list[Span]]:
    """The traced calls and the stages of `model` (in eval mode). Raises TapError."""
    entries = _entries(model) or [_Entry(i, *found) for i, found in enumerate(named_stages(model, images))]
    names = {entry.module for entry in entries}
    outputs: dict[Key, Any] = {}
    seen: dict[Key, list[tuple[Tensor, int]]] = {}

    def keep(key: Key, output: Any) -> None:
        if key[0] in names:
            outputs[key], seen[key] = output, versions(output)

    calls, output = trace(model, images, keep)
    logits_of(output)
    probe = _Probe(model, images, calls, outputs)
    listed = _without_repeats(_resolved(entries, calls), {call.key[0] for call in calls})
    if len({entry.stride for entry in listed}) == 1 and len(listed) > 2:
        ends, first = [listed[cut - 1] for cut in _cuts(len(listed))], None
    else:
        ends, first = listed[-4:], listed[-5] if len(listed) > 4 else None
    if len(ends) < 3:
        raise TapError(f"{len(ends)} stage(s) are announced by timm, at least three are needed")
    tapped = probe.ends(ends)
    before = probe.end(first, None) if first else None
    starts = probe.starts(tapped, before)
    fresh = outputs.keys() - written(seen)
    return calls, [
        Span(start, end, entry.stride, overwritten=end.key not in fresh)
        for start, end, entry in zip(starts, tapped, ends, strict=True)
    ]


def _cuts(depth: int) -> list[int]:
    """After which of `depth` blocks an isotropic model is cut: four increasing numbers (three for three blocks)."""
    stages = min(4, depth)
    near = [round(cut * depth / DEPTH) for cut in CUTS[-stages:]]
    return [min(max(cut, k + 1), depth - stages + k + 1) for k, cut in enumerate(near)]


def _entries(model: nn.Module) -> list[_Entry]:
    info: Any = getattr(model, "feature_info", None)
    lines: Sequence[dict[str, Any]] = getattr(info, "info", info) or ()
    return [_Entry(i, line["module"], line["num_chs"], int(line["reduction"])) for i, line in enumerate(lines)]


def _resolved(entries: list[_Entry], calls: list[Call]) -> list[_Entry]:
    """The entries by full module name, where timm names a module as its parent does ("blocks.0" in "encoder")."""
    called = {call.key[0] for call in calls}
    found = []
    for entry in entries:
        inside = [name for name in called if name.endswith("." + entry.module)]
        whole = inside[0] if entry.module and entry.module not in called and len(inside) == 1 else entry.module
        found.append(replace(entry, module=whole))
    return found


def _without_repeats(entries: list[_Entry], called: set[str]) -> list[_Entry]:
    """A module listed once for each of its branches counts once; names that are no module cannot repeat."""
    seen: dict[object, _Entry] = {}
    for entry in entries:
        seen.setdefault(entry.module if entry.module in called else entry.index, entry)
    return list(seen.values())


def logits_of(output: Any) -> Tensor:
    """The logits in what a model puts out; several heads (distilled models in train mode) are averaged."""
    heads = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    if not heads or any(head.ndim != 2 or head.shape != heads[0].shape for head in heads):
        given = ", ".join(str(list(head.shape)) for head in heads[:4]) or type(output).__name__
        raise TapError(f"its forward gives {given}, not logits [batch, classes]")
    return sum(heads[1:], heads[0]) / len(heads) if len(heads) > 1 else heads[0]


class _Probe:
    """Reads ports off a traced forward."""

    def __init__(self, model: nn.Module, images: Tensor, calls: list[Call], outputs: dict[Key, Any]) -> None:
        self.model, self.images, self.calls, self.outputs = model, images, calls, outputs
        self.image: Size = (images.shape[2], images.shape[3])
        count = getattr(model, "num_prefix_tokens", None)
        if count is None:
            count = int(any("cls_token" in name for name, _ in model.named_parameters()))
        self.prefixes = list(dict.fromkeys((count, 0)))
        weighty = {name for name, module in model.named_modules() if any(p.ndim > 1 for p in module.parameters())}
        self.weighty_calls = [call for call in calls if call.key[0] in weighty]
        self.trained = {name for name, module in model.named_modules() if any(True for _ in module.parameters())}

    def layouts(self, shape: torch.Size | None, entry: _Entry, strict: bool = False) -> list[Layout]:
        """The ways in which a tensor of `shape` can be the announced feature; `strict`: at exactly its stride."""
        if shape is None:
            return []
        sizes = sizes_at(self.image, entry.stride)
        found = read_layouts(shape, len(self.images), (entry.channels,), sizes, self.prefixes)
        found = [layout for layout in found if layout.channels == entry.channels]
        return [layout for layout in found if layout.size in sizes or not strict]

    def end(self, entry: _Entry, following: _Entry | None) -> Port | None:
        """Where the announced feature leaves its module; by shape, where timm's name for it is no called module."""
        named = [call for call in self.calls if call.key[0] == entry.module and self.read(call, entry)]
        if named:
            return self.read(named[-1], entry)
        fitting = [call for call in self.weighty_calls if self.read(call, entry, strict=True)]
        later = [call for call in self.weighty_calls if following and self.read(call, following, strict=True)]
        later = [call for call in later if not any(other.holds(call) for other in fitting)]
        first_later = min((c.exit for c in later if fitting and c.enter > fitting[0].exit), default=None)
        fitting = [call for call in fitting if first_later is None or call.exit < first_later]
        return self.read(fitting[-1], entry, strict=True) if fitting else None

    def read(self, call: Call, entry: _Entry, strict: bool = False) -> Port | None:
        """The first tensor of the call's output that can be the announced feature."""
        for leaf, shape in enumerate(call.outputs):
            if layouts := self.layouts(shape, entry, strict):
                return Port(call.key, leaf, layouts[0])
        return None

    def ends(self, entries: list[_Entry]) -> list[Port]:
        ports = []
        for entry, following in zip(entries, [*entries[1:], None], strict=True):
            port = self.end(entry, following)
            if port is None:
                raise TapError(
                    f"no module puts out the announced feature {entry.module!r} "
                    f"({entry.channels} channels, stride {entry.stride})"
                )
            ports.append(port)
        order = [self.call(port).exit for port in ports]
        if sorted(set(order)) != order:
            raise TapError("its features do not come one after the other: " + ", ".join(p.key[0] for p in ports))
        return self.checked(entries, ports)

    def checked(self, entries: list[_Entry], ports: list[Port]) -> list[Port]:
        """The ports with their layouts settled by value against timm's own maps: token order, ambiguous shapes."""
        unsure = [
            (entry, port)
            for entry, port in zip(entries, ports, strict=True)
            if port.key in self.outputs
            and (port.layout.kind == "NLC" or len(self.layouts(self.call(port).outputs[port.leaf], entry)) > 1)
        ]
        if not unsure or self.images.is_meta or not hasattr(self.model, "forward_intermediates"):
            return ports
        if len({entry.stride for entry in entries}) == 1:
            unsure = unsure[:1]
        forward: Any = self.model.forward_intermediates
        indices = [entry.index for entry, _ in unsure]
        maps = forward(self.images, indices=indices, output_fmt="NCHW", intermediates_only=True, stop_early=True)
        settled = {}
        for (entry, port), true_map in zip(unsure, maps, strict=True):
            x = leaf_of(self.outputs[port.key], port.leaf)
            layout = matching(self.layouts(x.shape, entry), x, true_map)
            if layout is not None:
                settled[port.key] = replace(port, layout=layout)
        return [settled.get(port.key, port) for port in ports]

    def call(self, port: Port) -> Call:
        return next(call for call in self.calls if call.key == port.key)

    def starts(self, ends: list[Port], before: Port | None) -> list[Port]:
        """Of each stage, the input of the first module with weights after the end of the stage before.

        With nothing tapped before the first stage, it starts with the first module named like its end, digits apart.
        """
        calls, ports = [self.call(end) for end in ends], []
        for k, end in enumerate(ends):
            previous = ends[k - 1] if k else before
            if previous:
                segment = self.between(self.call(previous), calls[k], calls[k + 1 :])
            else:
                alike = [call for call in self.calls if _pattern(call.key[0]) == _pattern(end.key[0])]
                segment = [call for call in alike if call.enter <= calls[k].enter]
            segment.sort(key=lambda call: call.enter)
            trained = [call for call in segment if call.key[0] in self.trained] or segment
            found = (self.entering(call, end, previous) for call in trained)
            wider = (self.widened(call, end) for call in trained)
            port = next((port for port in chain(found, wider) if port), None)
            if port is None:
                raise TapError(f"no map enters the modules of stage {k + 1}, which ends with {end.key[0]!r}")
            ports.append(port)
        return ports

    def between(self, previous: Call, end: Call, later: list[Call]) -> list[Call]:
        """The outermost calls from one end to the next. A block with a skip path is one piece, though an end lies in
        it: what it still does after the end before is no start, and it is one as a whole if this end lies in it."""
        cut = [call for call in self.calls if call.holds(previous) and not call.holds(end) and not call.chain]
        pieces = [
            call
            for call in self.calls
            if previous.exit < call.enter <= end.enter
            and not (call.holds(end) and (call.chain or any(call.holds(other) for other in later)))
            and not any(block.holds(call) for block in cut)
        ]
        return [call for call in pieces if not any(other.holds(call) for other in pieces)]

    def entering(self, call: Call, end: Port, previous: Port | None) -> Port | None:
        """The first tensor of the call's input that holds a map like the stage's end or that of the stage before."""
        known = [port.layout for port in (previous, end) if port]
        channels = [layout.channels for layout in known]
        sizes = [layout.size for layout in known]
        for leaf, shape in enumerate(call.inputs):
            found = read_layouts(shape, len(self.images), channels, sizes, self.prefixes) if shape else []
            alike = [layout for layout in found if layout.kind == known[0].kind] or found or self.plausible(shape, end)
            if alike:
                layout = alike[0]
                same = [other.order for other in known if other.kind == layout.kind and other.size == layout.size]
                return Port(call.key, leaf, replace(layout, order=same[0] if same else None))
        return None

    def widened(self, call: Call, end: Port) -> Port | None:
        """The first tensor of the call's input with the end's tokens, of however many channels."""
        for leaf, shape in enumerate(call.inputs):
            if shape is not None and len(shape) == 3 and end.layout.kind == "NLC":
                found = read_layouts(shape, len(self.images), (shape[2],), (end.layout.size,), self.prefixes)
                if found:
                    return Port(call.key, leaf, replace(found[0], order=end.layout.order))
        return None

    def plausible(self, shape: torch.Size | None, end: Port) -> list[Layout]:
        """Of four dimensions, those where the end has its grid, if their ratio is the image's: a stem's output."""
        if shape is None or len(shape) != 4 or shape == self.images.shape or end.layout.kind == "NLC":
            return []
        found = read_layouts(shape, len(self.images), (shape[1], shape[3]), (), ())
        return [
            layout
            for layout in found
            if layout.kind == end.layout.kind and layout.size in sizes_at(self.image, self.image[0] / layout.size[0])
        ]


def _pattern(name: str) -> str:
    return re.sub(r"\d+", "#", name)

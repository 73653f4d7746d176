"""The stages of any timm model: their maps [B, C, H, W], and prompts on what enters them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pat.layouts import Size
from pat.listener import Listener, hooked
from pat.replay import (
    Key,
    finished_before,
    intercepted,
    leaf_of,
    map_tensors,
    probing,
    versions,
    with_leaf,
    written,
)
from pat.resumption import Resumption, alike, fresh_leaf, kept_as, unread_calls
from pat.stages import Port, Span, TapError, find_spans, logits_of

__all__ = ["Entrance", "Memory", "Stage", "StageTaps", "TapError", "Tapped"]

Prompt = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Stage:
    """A stage of a model. Sizes are (h, w) in grid cells for the image size of the taps.

    `start` is the module whose input a prompt changes (`in_channels` x `in_size`), `end` the one whose output is
    the stage's map (`channels` x `size`). `prefix_tokens` are the class, distillation and register tokens that
    travel beside the map at the end.
    """

    end: str
    start: str
    stride: int
    channels: int
    size: Size
    in_channels: int
    in_size: Size
    prefix_tokens: int


@dataclass(frozen=True)
class Tapped:
    """Logits [B, classes] of a forward and the map [B, C, H, W] of each stage."""

    logits: Tensor
    maps: tuple[Tensor, ...]


@dataclass(frozen=True)
class Memory:
    """What a clean pass left behind, enough to resume it before stage `before`."""

    before: int
    outputs: Mapping[Key, Any]
    maps: tuple[Tensor, ...]


@dataclass(frozen=True)
class Entrance:
    """Where a stage's map enters the model, and the outermost calls that have ended by then."""

    port: Port
    earlier: tuple[Key, ...]


@dataclass
class _Pass:
    """What is to happen in one forward, and what it brings."""

    prompts: Mapping[Key, tuple[Port, Prompt]] = field(default_factory=dict)
    memory: Mapping[Key, Any] = field(default_factory=dict)
    keep: Mapping[Key, Callable[[Any], Any]] = field(default_factory=dict)
    kept: dict[Key, Any] = field(default_factory=dict)
    maps: dict[Key, Tensor] = field(default_factory=dict)


class StageTaps:
    """Taps on the four stages of `model` (three where it has three), without any change to the model.

    `image_size` is the height and width of the images in pixels, one number for squares. The stages are found by
    a forward of two fixed images in eval mode; weights, statistics and modes stay as they are. `prompted` and
    `remember` are for a model in eval mode. One thread at a time may run taps on a model. Raises TapError for a
    model that has no such stages.
    """

    def __init__(self, model: nn.Module, image_size: int | Size) -> None:
        self.model = model
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else image_size
        self._resumptions: dict[int, Resumption] = {}
        with probing(model), torch.no_grad(), hooked() as heard:
            self._calls, self._spans = find_spans(model, self.probe_images())
        self.stages = tuple(
            Stage(
                end=span.end.key[0],
                start=span.start.key[0],
                stride=span.stride,
                channels=span.end.layout.channels,
                size=span.end.layout.size,
                in_channels=span.start.layout.channels,
                in_size=span.start.layout.size,
                prefix_tokens=span.end.layout.prefix,
            )
            for span in self._spans
        )
        ends = {span.end.key: partial(_map_at_end, span) for span in self._spans}
        listening = heard.issuperset(model.get_submodule(name) for name, _ in ends)
        self._listener = Listener(model, ends) if listening else None

    def __call__(self, images: Tensor) -> Tapped:
        """The plain forward: the logits of `model(images)`, heads averaged if it has two, and the stages' maps."""
        return self.within(lambda: logits_of(self.model(images)))[1]

    @property
    def key(self) -> Hashable:
        """Taps of one key on the same model give the same."""
        return "stages", self.image_size

    def within(self, forward: Callable[[], Tensor]) -> tuple[Tensor, Tapped]:
        """The logits that `forward` gives, which is one plain pass of the model, and what the taps give for it."""
        if self._listener is None:  # timm calls `forward` of some modules directly (HRNet)
            done = _Pass()
            logits, maps = self._during(forward, done), done.maps
        else:
            logits, maps = self._listener(forward)
        return logits, self._tapped(logits, maps)

    def remember(self, images: Tensor, before: int) -> tuple[Tapped, Memory]:
        """The plain forward, and what it takes to resume it before stage `before` (0-based). Call it under no_grad."""
        return self.remembering(before).within(lambda: logits_of(self.model(images)))[1]

    def remembering(self, before: int) -> Remembering:
        """`remember` as a question about any plain pass."""
        plan = self._resumption(before)
        return Remembering(
            self, before, {key: kept_as(key in plan.unread, key in plan.overwritten) for key in plan.calls}
        )

    def prompted(self, images: Tensor, prompts: Mapping[int, Prompt], memory: Memory) -> Tapped:
        """A forward in which `prompts[i]` changes the map [B, C, H, W] that enters stage i.

        Resumed from `memory` of the same images: modules that end before stage `memory.before` are not run again.
        Raises TapError for a prompt below that stage.
        """
        last = len(self._spans) - 1
        if prompts and not memory.before <= min(prompts) <= max(prompts) <= last:
            raise TapError(f"prompts at stages {sorted(prompts)}: allowed are {memory.before} to {last}")
        plan = self._resumption(memory.before)
        outputs = {
            key: map_tensors(torch.clone, value) if key in plan.overwritten else value
            for key, value in memory.outputs.items()
        }
        starts = {self._spans[i].start.key: (self._spans[i].start, prompt) for i, prompt in prompts.items()}
        done = _Pass(prompts=starts, memory=outputs)
        logits = self._forward(images, done)
        below = {span.end.key: kept for span, kept in zip(self._spans, memory.maps, strict=False)}
        return self._tapped(logits, {**done.maps, **below})

    def entrance(self, stage: int) -> Entrance:
        """Where the map of `stage` (0-based, or counted back from -1) enters the model."""
        port = self._spans[stage].start
        start = next(call for call in self._calls if call.key == port.key)
        return Entrance(port, tuple(finished_before(self._calls, start)))

    def probe_images(self, count: int = 2) -> Tensor:
        """Fixed noise images, drawn without touching the global random state."""
        weight = next((p for p in self.model.parameters() if p.is_floating_point()), torch.zeros(1))
        config: Any = getattr(self.model, "pretrained_cfg", None) or {}
        channels = getattr(self.model, "in_chans", None) or (config.get("input_size") or (3,))[0]
        noise = torch.randn(
            (count, channels, *self.image_size), generator=torch.Generator().manual_seed(0), device="cpu"
        )
        return noise.to(device=weight.device, dtype=weight.dtype)

    def _forward(self, images: Tensor, what: _Pass) -> Tensor:
        """One forward of the model with `what` done in it; its logits [B, classes]."""
        return self._during(lambda: logits_of(self.model(images)), what)

    @torch.compiler.disable
    def _during(self, forward: Callable[[], Tensor], what: _Pass) -> Tensor:
        """What `forward` gives, with `what` done in it. It runs as it stands, between compiled graphs: calls are
        changed and skipped in it."""
        ends = {span.end.key: span for span in self._spans}

        def step(key: Key, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if key in what.memory:
                return what.memory[key]
            if key in what.prompts:
                args, kwargs = self._changed(*what.prompts[key], (args, kwargs))
            output = forward(*args, **kwargs)
            if key in ends:
                what.maps[key] = _map_at_end(ends[key], args, output)
            if key in what.keep:
                what.kept[key] = what.keep[key](output)
            return output

        keys = [*ends, *what.prompts, *what.memory, *what.keep]
        with intercepted(self.model, {name for name, _ in keys}, step):
            return forward()

    @staticmethod
    def _changed(port: Port, prompt: Prompt, inputs: Any) -> Any:
        x = leaf_of(inputs, port.leaf)
        return with_leaf(inputs, port.leaf, port.layout.from_map(prompt(port.layout.to_map(x)), x))

    def _tapped(self, logits: Tensor, maps: Mapping[Key, Tensor]) -> Tapped:
        missing = [span.end.key[0] for span in self._spans if span.end.key not in maps]
        if missing:
            raise TapError(f"the forward did not pass through {', '.join(missing)}")
        return Tapped(logits, tuple(maps[span.end.key] for span in self._spans))

    def _resumption(self, before: int) -> Resumption:
        """How to resume before stage `before`, tried out once on the probe images. Raises TapError if it cannot be."""
        if not 0 <= before < len(self._spans):
            raise TapError(f"resume before stage {before}: allowed are 0 to {len(self._spans) - 1}")
        if before not in self._resumptions:
            self._resumptions[before] = self._try_out(before)
        return self._resumptions[before]

    @torch.compiler.disable
    def _try_out(self, before: int) -> Resumption:
        entrance = self.entrance(before)
        keys, images = entrance.earlier, self.probe_images()
        with probing(self.model), torch.inference_mode(False), torch.enable_grad():
            copies = _Pass(keep={key: lambda out: (map_tensors(fresh_leaf, out), versions(out)) for key in keys})
            clean = self._forward(images, copies).detach()
            memory = {key: value for key, (value, _) in copies.kept.items()}
            overwritten = frozenset(written({key: seen for key, (_, seen) in copies.kept.items()}))
            resumed = _Pass(memory={key: map_tensors(torch.clone, value) for key, value in memory.items()})
            logits = self._forward(images, resumed)
            if not alike(clean, logits):
                raise TapError(f"resuming it before {entrance.port.key[0]!r} does not give its own logits")
            unread = frozenset(unread_calls(logits, memory))
            if unread:
                stand_ins = {key: kept_as(key in unread, True)(value) for key, value in memory.items()}
                try:
                    same = alike(clean, self._forward(images, _Pass(memory=stand_ins)))
                except RuntimeError:
                    same = False
                unread = unread if same else frozenset()
        return Resumption(keys, unread, overwritten - unread)


@dataclass(frozen=True)
class Remembering:
    """What `StageTaps.remember` gives, of any plain pass; `keep`: what of which calls."""

    taps: StageTaps
    before: int
    keep: Mapping[Key, Callable[[Any], Any]]

    @property
    def model(self) -> nn.Module:
        return self.taps.model

    @property
    def key(self) -> Hashable:
        return "memory", self.before, self.taps.image_size

    def within(self, forward: Callable[[], Tensor]) -> tuple[Tensor, tuple[Tapped, Memory]]:
        """The logits that `forward` gives, which is one plain pass of the model, and what is remembered of it."""
        done = _Pass(keep=self.keep)
        logits = self.taps._during(forward, done)
        tapped = self.taps._tapped(logits, done.maps)
        return logits, (tapped, Memory(self.before, done.kept, tapped.maps[: self.before]))


def _map_at_end(span: Span, args: tuple[Any, ...], output: Any) -> Tensor:
    """The map of a stage, out of what its last module puts out."""
    x = leaf_of(output, span.end.leaf)
    return span.end.layout.to_map(x.clone() if span.overwritten else x)

"""A timm model run from one of its stages on, through the calls and ports that its taps know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from pat.embedding import Embedding
from pat.graph import leaves
from pat.replay import Key, intercepted, leaf_of, map_tensors, with_leaf
from pat.resumption import alike
from pat.stages import logits_of
from pat.taps import StageTaps, TapError, probing

PROBES = (2, 3)
"""Images of two passes: a side of a tensor that differs between them grows with the batch."""


@dataclass(frozen=True)
class _Clean:
    """What a plain pass has: the tensor that entered the stage, what the calls before it put out (shapes alone), logits
    and pooled features."""

    entered: Tensor
    outputs: Mapping[Key, Any]
    logits: Tensor
    features: Tensor


class Suffix:
    """The model of `taps` from its stage `stage` on (0-based, or counted back from -1, the last one).

    The calls that end before the stage are answered with blanks, a map is put in where the stage's enters, and the
    model's own code does the rest. Nothing before the stage is computed or changed. `shape` is (C, H, W) of what
    enters, `prefix_tokens` how many class, distillation and register tokens travel beside it.

    It is tried out here on fixed images: raises TapError, one line that names the model, where its own map does not
    give its own logits and pooled features (two branches side by side, a skip path around the stage); on meta tensors,
    which have no values, where these depend on what comes before it.
    """

    def __init__(self, taps: StageTaps, embedding: Embedding, stage: int = -1) -> None:
        self.model, self.embedding = taps.model, embedding
        entrance = taps.entrance(stage)
        self._port, self._earlier = entrance.port, frozenset(entrance.earlier)
        layout = self._port.layout
        self.shape, self.prefix_tokens = (layout.channels, *layout.size), layout.prefix
        self._blanks: list[Tensor] | None = None
        self._image = taps.probe_images(1).shape[1:]
        with probing(self.model), torch.inference_mode(False), torch.no_grad():
            few, more = (self._clean(taps.probe_images(count)) for count in PROBES)
            self._outputs = {key: (few.outputs[key], more.outputs[key]) for key in self._earlier}
            self._try_out(few)

    @torch.compiler.disable
    def __call__(self, x: Tensor, tokens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits [B, classes] and pooled features [B, dim] for the map `x` [B, C, H, W] that enters the stage.

        `tokens` [B, prefix_tokens, C]: those beside it, where the model has such. Gradients reach what enters and the
        weights from here on. Running statistics are read and not moved, in train mode too.
        """
        new = self._port.layout.from_map(x, x if tokens is None else tokens)

        def step(key: Key, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if key in self._earlier:
                return self._blank(key, x)
            if key == self._port.key:
                args, kwargs = with_leaf((args, kwargs), self._port.leaf, new)
            return forward(*args, **kwargs)

        images = x.new_zeros(()).expand(len(x), *self._image)
        with _at_rest(self.model), intercepted(self.model, self._names, step):
            return self.embedding.during(lambda: logits_of(self.model(images)))

    @property
    def _names(self) -> set[str]:
        return {name for name, _ in self._earlier | {self._port.key}}

    def _blank(self, key: Key, like: Tensor) -> Any:
        """An output of call `key` for as many images as `like` has: zeros, of which one is stored."""

        def blank(few: Any, more: Any) -> Any:
            if not isinstance(few, Tensor):
                return few
            sides = zip(few.shape, more.shape, strict=True)
            shape = [b if a == b else b // PROBES[1] * len(like) for a, b in sides]
            zero = torch.zeros((), dtype=few.dtype, device=like.device)
            if self._blanks is not None and few.is_floating_point():
                self._blanks.append(zero.requires_grad_())
            return zero.expand(shape)

        return tree_map(blank, *self._outputs[key])

    def _clean(self, images: Tensor) -> _Clean:
        entered: list[Tensor] = []
        outputs: dict[Key, Any] = {}

        def step(key: Key, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if key == self._port.key:
                entered.append(leaf_of((args, kwargs), self._port.leaf).clone())
            output = forward(*args, **kwargs)
            if key in self._earlier:
                outputs[key] = map_tensors(lambda x: x.to("meta"), output)
            return output

        with intercepted(self.model, self._names, step):
            logits, features = self.embedding(images)
        return _Clean(entered[0], outputs, logits, features)

    def _try_out(self, clean: _Clean) -> None:
        layout = self._port.layout
        tokens = clean.entered[:, : layout.prefix] if layout.prefix else None
        try:
            logits, features = self(layout.to_map(clean.entered), tokens)
            same = alike(clean.logits, logits) and alike(clean.features, features) and not self._skipped(clean, tokens)
            why = "its own map does not give its own logits"
        except Exception as error:  # code written for a whole pass fails in many ways
            same, why = False, (str(error).splitlines() or [type(error).__name__])[0]
        if not same:
            record = getattr(self.model, "pretrained_cfg", {})
            name = record.get("architecture") or type(self.model).__name__
            raise TapError(f"model {name!r} cannot be run from {self._port.key[0]!r} on: {why}")

    def _skipped(self, clean: _Clean, tokens: Tensor | None) -> bool:
        """On meta tensors: whether logits or features depend on blanks. Where there are values, they have told."""
        if not clean.entered.is_meta:
            return False
        blanks: list[Tensor] = []
        self._blanks = blanks
        with torch.enable_grad():
            met = leaves(self(self._port.layout.to_map(clean.entered), tokens))
        self._blanks = None
        return any(id(blank) in met for blank in blanks)


@contextmanager
def _at_rest(model: nn.Module) -> Iterator[None]:
    """Running statistics are read and not moved; activations are kept, as calls that are made again are plain ones."""
    counting = [m for m in model.modules() if m.training and getattr(m, "num_batches_tracked", None) is not None]
    recomputing: list[Any] = [m for m in model.modules() if getattr(m, "grad_checkpointing", False)]
    try:
        for module in counting:
            module.training = False
        for module in recomputing:
            module.grad_checkpointing = False
        yield
    finally:
        for module in counting:
            module.training = True
        for module in recomputing:
            module.grad_checkpointing = True

"""A model's logits and what its classifier sees: the pooled features of the last stage."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pat.config import ConfigError
from pat.listener import Listener
from pat.replay import probing
from pat.stages import logits_of

T = TypeVar("T")


class Embedding:
    """`model` with its pooled features [B, dim] beside its logits, without any change to it.

    The features are the input of the classifier that timm names (of the first, where there are two). `image_size`
    in pixels is for a forward of two images that finds `dim`. Raises ConfigError for a model without a classifier.
    """

    def __init__(self, model: nn.Module, image_size: int | tuple[int, int]) -> None:
        self.model = model
        self._key = (_classifier(model), 0)
        self._listener = Listener(model, {self._key: _first_argument})
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        weight = next(model.parameters())
        with probing(model), torch.no_grad():
            images = torch.zeros(2, 3, *size, device=weight.device, dtype=weight.dtype)
            self.dim = self(images)[1].shape[1]

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, classes] and pooled features [B, dim] of normalised images."""
        return self.during(lambda: logits_of(self.model(images)))

    @property
    def key(self) -> Hashable:
        """Of one key, on the same model, features are the same."""
        return "features", self._key

    def within(self, forward: Callable[[], Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The logits that `forward` gives, which is one plain pass of the model, and they with the features in it."""
        logits, features = self.during(forward)
        return logits, (logits, features)

    def during(self, forward: Callable[[], T]) -> tuple[T, Tensor]:
        """What `forward` gives, which is one pass through the model, and the pooled features [B, dim] in it."""
        given, heard = self._listener(forward)
        return given, _pooled(heard[self._key])


def _first_argument(args: tuple[Any, ...], output: Any) -> Tensor:
    return args[0]


def _pooled(features: Tensor) -> Tensor:
    """[B, D] as it is, tokens [B, N, D] or maps [B, D, H, W] averaged over positions."""
    if features.ndim == 4:
        return features.mean((2, 3))
    return features.mean(1) if features.ndim == 3 else features


def _classifier(model: nn.Module) -> str:
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    names = (names,) if isinstance(names, str) else names
    modules = dict(model.named_modules())
    found = next((name for name in names if name in modules), None)
    if found is None or isinstance(modules[found], nn.Identity):
        raise ConfigError(f"model {type(model).__name__} has no classifier that timm names: no pooled features")
    return found

"""What calls of a model's modules take and give, heard in a plain forward by hooks that stay on the modules."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from pat.replay import Key

Heard = Callable[[tuple[Any, ...], Any], Any]
"""What is noted of a call, from its positional arguments and its output."""


class Listener:
    """Notes `keep[key](args, output)` of each of these calls of submodules, in forwards that go through it.

    The hooks stay where they are, so torch.compile follows them into its graph. In any other forward of the model, and
    in other threads, they do nothing. `keep` has to be told of a module before it is replaced by another.
    """

    def __init__(self, model: nn.Module, keep: Mapping[Key, Heard]) -> None:
        self._keep = dict(keep)
        self._heard: dict[Key, Any] | None = None
        self._calls: Counter[str] = Counter()
        self._owner: int | None = None
        for name in dict.fromkeys(name for name, _ in keep):
            model.get_submodule(name).register_forward_hook(partial(self._hear, name))

    def __call__(self, model: nn.Module, *inputs: Any) -> tuple[Any, dict[Key, Any]]:
        """`model(*inputs)`, and what was noted of the calls that it made. `model` is the one of the hooks, or a copy
        that was copied together with this."""
        self._heard, self._calls = {}, Counter()
        self._owner = None if torch.compiler.is_compiling() else threading.get_ident()
        try:
            output = model(*inputs)
        finally:
            heard, self._heard = self._heard, None
        return output, heard

    def _hear(self, name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._heard is None or not self._own_thread():
            return
        key = (name, self._calls[name])
        self._calls[name] += 1
        if key in self._keep:
            self._heard[key] = self._keep[key](args, output)

    def _own_thread(self) -> bool:
        return torch.compiler.is_compiling() or self._owner in (None, threading.get_ident())

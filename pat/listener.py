"""What calls of a model's modules take and give, heard in a plain forward by hooks that stay on the modules."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from pat.replay import Key

T = TypeVar("T")
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

    def __call__(self, forward: Callable[[], T]) -> tuple[T, dict[Key, Any]]:
        """What `forward` gives, which is one pass through the model, and what was noted of the calls in it."""
        self._heard, self._calls = {}, Counter()
        self._owner = None if torch.compiler.is_compiling() else threading.get_ident()
        try:
            given = forward()
        finally:
            heard, self._heard = self._heard, None
        return given, heard

    def _hear(self, name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._heard is None or not self._own_thread():
            return
        key = (name, self._calls[name])
        self._calls[name] += 1
        if key in self._keep:
            self._heard[key] = self._keep[key](args, output)

    def _own_thread(self) -> bool:
        return torch.compiler.is_compiling() or self._owner in (None, threading.get_ident())


@contextmanager
def hooked() -> Iterator[set[nn.Module]]:
    """The modules whose hooks run while this is open: those that are called, not those whose `forward` is."""
    heard: set[nn.Module] = set()
    handle = register_module_forward_hook(lambda module, *_: heard.add(module))
    try:
        yield heard
    finally:
        handle.remove()

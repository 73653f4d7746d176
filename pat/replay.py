"""The calls of a model's modules: watched, changed or answered from memory, for one forward at a time."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

Key = tuple[str, int]
"""A call: the module's name and how many calls of it came before in the same forward."""
Wrapper = Callable[[Key, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_creating = threading.Lock()


@dataclass(frozen=True)
class Call:
    """One call of a module in a traced forward; `enter` and `exit` are ticks of one clock, shapes those of its tensors.

    `chain`: the output is that of the last call inside, so it is a container (a block with a skip path is none).
    Inputs and outputs are listed leaf by leaf, None for what is no tensor.
    """

    key: Key
    enter: int
    exit: int
    chain: bool
    inputs: tuple[torch.Size | None, ...]
    outputs: tuple[torch.Size | None, ...]

    def holds(self, other: Call) -> bool:
        """Whether `other` ran inside this call."""
        return self.enter < other.enter and other.exit < self.exit


@contextmanager
def intercepted(model: nn.Module, names: Iterable[str], wrapper: Wrapper) -> Iterator[None]:
    """While open, calls of the named submodules in this thread go to `wrapper(key, forward, args, kwargs)`.

    Only `forward` of these instances is covered, and uncovered again whatever happens. Other threads see the
    plain forward; a second interception of the same model waits for the first.
    """
    with _creating:
        lock = _locks.setdefault(model, threading.RLock())
    modules = {name: model.get_submodule(name) for name in names}
    seen: Counter[str] = Counter()
    owner = threading.get_ident()

    def enter(name: str, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != owner:
            return forward(*args, **kwargs)
        seen[name] += 1
        return wrapper((name, seen[name] - 1), forward, args, kwargs)

    with lock:
        before = {name: module.__dict__.get("forward") for name, module in modules.items()}
        try:
            for name, module in modules.items():
                module.__dict__["forward"] = partial(enter, name, module.forward)
            yield
        finally:
            for name, module in modules.items():
                if before[name] is None:
                    module.__dict__.pop("forward", None)
                else:
                    module.__dict__["forward"] = before[name]


def trace(model: nn.Module, images: Tensor, keep: Callable[[Key, Any], None]) -> tuple[list[Call], Any]:
    """All calls of submodules in one forward, in the order in which they end, and what the model puts out.

    `keep(key, output)` sees the output of each call.
    """
    calls: list[Call] = []
    clock = itertools.count()
    last_inside: list[Any] = [None]

    def watch(key: Key, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        enter, inputs = next(clock), shapes((args, kwargs))
        last_inside.append(None)
        output = forward(*args, **kwargs)
        chain = last_inside.pop() is output
        last_inside[-1] = output
        calls.append(Call(key, enter, next(clock), chain, inputs, shapes(output)))
        keep(key, output)
        return output

    with intercepted(model, [name for name, _ in model.named_modules() if name], watch):
        return calls, model(images)


def shapes(tree: Any) -> tuple[torch.Size | None, ...]:
    """The shape of each leaf of nested tuples, lists and dictionaries; None for what is no tensor."""
    return tuple(leaf.shape if isinstance(leaf, Tensor) else None for leaf in tree_flatten(tree)[0])


def leaf_of(tree: Any, index: int) -> Tensor:
    """The tensor at `index` among the leaves of `tree`."""
    return tree_flatten(tree)[0][index]


def with_leaf(tree: Any, index: int, value: Tensor) -> Any:
    """`tree` with the leaf at `index` replaced."""
    leaves, spec = tree_flatten(tree)
    return tree_unflatten([*leaves[:index], value, *leaves[index + 1 :]], spec)


def map_tensors(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """`tree` with `function` applied to every tensor."""
    return tree_map_only(Tensor, function, tree)


def finished_before(calls: Iterable[Call], start: Call) -> list[Key]:
    """The outermost calls that had ended when `start` began: answered from memory, nothing below is computed."""
    done = [call for call in calls if call.exit < start.enter]
    outermost: list[Call] = []
    for call in sorted(done, key=lambda call: call.enter):
        if not (outermost and outermost[-1].holds(call)):
            outermost.append(call)
    return [call.key for call in outermost]


def versions(tree: Any) -> list[tuple[Tensor, int]]:
    """Each tensor of `tree` with its count of in-place writes so far."""
    return [(leaf, leaf._version) for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def written(before: Mapping[Key, list[tuple[Tensor, int]]]) -> set[Key]:
    """The calls whose tensors have been written in place since `versions` was taken."""
    return {key for key, seen in before.items() if any(tensor._version != count for tensor, count in seen)}


@contextmanager
def probing(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, and afterwards every module in the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        model.train()  # drops what some models cache in eval mode
        for module, mode in modes:
            module.training = mode

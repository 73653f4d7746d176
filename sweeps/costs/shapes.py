"""Tensor operations on meta tensors, counted: what has been asked of such shapes before is not worked out again.

Torch knows the shapes of many results by Python code, which takes a millisecond each; models repeat their layers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry, shape_wrapper

_UNKNOWN: Any = object()
_ITSELF: Any = object()
"""The result of an operation in place."""


class _Shape(NamedTuple):
    """What makes one meta tensor as good as another."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype


class _Known(NamedTuple):
    """What an operation gives (shapes in the place of tensors), and its FLOP."""

    result: Any
    flop: int


_known: dict[Hashable, _Known] = {}


def _convolution_backward(
    grad_shape: Any, x_shape: Any, w_shape: Any, _b: Any, _s: Any, _p: Any, _d: Any, transposed: bool,
    _op: Any, _groups: int, output_mask: Any, out_shape: Any = None, **_: Any,
) -> int:  # fmt: skip
    """Torch's own formula forgets to divide the gradient of weights by the groups: count forward once per gradient."""
    return conv_flop_count(x_shape, w_shape, grad_shape, transposed=transposed) * sum(output_mask[:2])


class Counter(TorchDispatchMode):
    """Counts the operations within a block, and their FLOP by torch's formulas."""

    formulas: Mapping[Any, Callable[..., int]] = {
        **flop_registry,
        torch.ops.aten.convolution_backward: shape_wrapper(_convolution_backward),
    }

    def __init__(self) -> None:
        super().__init__()
        self.flop, self.operations = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.operations += 1
        key = _question(func, args, kwargs)
        if key is not _UNKNOWN and (known := _known.get(key)) is not None:
            self.flop += known.flop
            return args[0] if known.result is _ITSELF else _made(known.result)
        out, flop = func(*args, **kwargs), 0
        if (formula := self.formulas.get(func._overloadpacket)) is not None:
            flop = formula(*args, **kwargs, out_val=out)
        self.flop += flop
        if key is not _UNKNOWN:
            changed = bool(args) and out is args[0]
            if changed and _shapes(out) == key[1][0][0]:
                _known[key] = _Known(_ITSELF, flop)
            elif not changed and (result := _shapes(out)) is not _UNKNOWN:
                _known[key] = _Known(result, flop)
        return out


def _question(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """By what an operation's result is known; unknown where it is a view of what it is given, or hangs on values."""
    schema = func._schema
    views = [one for one in schema.returns if one.alias_info is not None]
    if views and not (len(schema.returns) == 1 and schema.name.endswith("_") and args):
        return _UNKNOWN
    given = _shapes((args, tuple(kwargs.items())))
    return given if given is _UNKNOWN else (func, given, _kinds(given))


def _kinds(value: Any) -> Any:
    """1, 1.0 and True are equal, what they do is not."""
    return tuple(map(_kinds, value)) if isinstance(value, tuple) else type(value)


def _shapes(value: Any) -> Any:
    """The value with shapes in the place of meta tensors; unknown where it holds another tensor."""
    if isinstance(value, Tensor):
        plain = value.device.type == "meta" and value.layout is torch.strided
        return _Shape(tuple(value.shape), value.stride(), value.dtype) if plain else _UNKNOWN
    if isinstance(value, (list, tuple)):
        found = tuple(map(_shapes, value))
        return _UNKNOWN if any(one is _UNKNOWN for one in found) else found
    return value


def _made(value: Any) -> Any:
    """Fresh tensors of such shapes."""
    if isinstance(value, _Shape):
        return torch.empty_strided(value.size, value.strides, dtype=value.dtype, device="meta")
    return tuple(map(_made, value)) if isinstance(value, tuple) else value

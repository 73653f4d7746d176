"""Pickled files of which tensors are read and nothing is executed: for `torch.load`, in place of Python's `pickle`.

What a training script keeps beside its weights - scores of NumPy, paths, dates, its own classes, whole modules - is
rebuilt as inert stand-ins, which hold what was pickled and do nothing.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, BinaryIO

import torch
from torch import Tensor
from torch._utils import _rebuild_parameter, _rebuild_tensor, _rebuild_tensor_v2


class Inert(dict[Any, Any]):
    """Stands for an object of a class that is not known: takes all that unpickling does to one, and keeps its items.

    `state` is what its class would have been given to restore itself.
    """

    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *args: Any, **kwargs: Any) -> Inert:
        return Inert()

    def append(self, item: Any) -> None:
        pass

    extend = add = append

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other


def module_tensors(found: Inert) -> dict[str, Tensor]:
    """The state dict of a module that was pickled whole; empty where the object was none."""
    own = found.state
    if not isinstance(own, Mapping) or not {"_parameters", "_buffers", "_modules"} <= own.keys():
        return {}
    passing = own.get("_non_persistent_buffers_set") or ()
    tensors = {**own["_parameters"], **{key: value for key, value in own["_buffers"].items() if key not in passing}}
    for name, module in own["_modules"].items():
        if isinstance(module, Inert):
            tensors |= {f"{name}.{key}": value for key, value in module_tensors(module).items()}
    return {key: value.detach() for key, value in tensors.items() if isinstance(value, Tensor)}


def _rebuild_from_type(build: Any, kind: Any, arguments: tuple[Any, ...], state: Any) -> Any:
    return build(*arguments)


def _rebuild_with_state(data: Tensor, requires_grad: bool, hooks: Any, state: Any) -> Tensor:
    return data


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_with_state,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
}
"""What builds tensors. It takes numbers and storages, which torch has read itself."""


class Unpickler(pickle.Unpickler):
    """Finds what builds tensors, and an inert class for every other name; torch finds storages itself."""

    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is None and module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            known = getattr(torch, name)
        return known or type(name.rpartition(".")[2], (Inert,), {})


def load(file: BinaryIO, **given: Any) -> Any:
    """As `pickle.load`."""
    return Unpickler(file, **given).load()

"""What a model's pass leaves behind, so that a later one can begin in its middle: which calls, and what of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from pat.replay import Key, map_tensors


@dataclass(frozen=True)
class Resumption:
    """How to resume before a stage: the calls answered from memory, those of them whose value nothing reads (only
    their shape is kept), and those read whose tensors the model later overwrites (copied)."""

    calls: tuple[Key, ...]
    unread: frozenset[Key]
    overwritten: frozenset[Key]


def fresh_leaf(x: Tensor) -> Tensor:
    """A copy that collects a gradient of its own."""
    copy = x.detach().clone()
    return copy.requires_grad_() if copy.is_floating_point() else copy


def unread_calls(logits: Tensor, memory: Mapping[Key, Any]) -> Collection[Key]:
    """The calls none of whose tensors the logits depend on."""
    leaves = [(key, x) for key, value in memory.items() for x in tree_leaves(value) if isinstance(x, Tensor)]
    used = {key for key, x in leaves if not x.requires_grad}
    leaves = [(key, x) for key, x in leaves if x.requires_grad]
    if leaves and logits.requires_grad:
        gradients = torch.autograd.grad(logits.sum(), [x for _, x in leaves], allow_unused=True)
        used |= {key for (key, _), gradient in zip(leaves, gradients, strict=True) if gradient is not None}
    return {key for key, _ in leaves} - used


def kept_as(unread: bool, overwritten: bool) -> Callable[[Any], Any]:
    """What memory keeps of a call's output: its shape alone, a copy, or the tensors themselves."""

    def keep(x: Tensor) -> Tensor:
        x = x.detach()
        if unread:
            return x.new_zeros(()).expand(x.shape)
        return x.clone() if overwritten else x

    return lambda output: map_tensors(keep, output)


def alike(a: Tensor, b: Tensor) -> bool:
    """Equal within 1e-6 of the largest value: some kernels differ under autograd. Meta tensors by their shapes."""
    return a.shape == b.shape and (a.is_meta or torch.allclose(a, b, rtol=0, atol=1e-6 * float(a.abs().max() + 1)))

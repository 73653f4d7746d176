"""The graph of gradients, looked at and not run."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor


def leaves(outputs: Iterable[Tensor]) -> set[int]:
    """`id` of each leaf that one of `outputs` depends on."""
    todo, met, found = [output.grad_fn for output in outputs], set(), set()
    while todo:
        node = todo.pop()
        if node is None or node in met:
            continue
        met.add(node)
        found.add(id(getattr(node, "variable", None)))
        todo += [below for below, _ in node.next_functions]
    return found

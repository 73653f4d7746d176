"""torch.compile of a method as a whole: one graph, and the numbers it has without."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch

from pat.methods import list_methods
from tests import tiny
from tests.pat.test_methods import batch, build

GRAPHS = {"pat": 7, "fbt": 2}
"""What changes and skips calls runs as it stands, between graphs: PAT's teacher passes, their first trial and what is
said of its prompts, and the assistant of FBT."""
QUICK = ("fitnet", "pat")
METHODS = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in list_methods("classification")
]


@pytest.fixture(autouse=True)
def _compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", METHODS)
def test_a_method_compiles(name: str) -> None:
    """Traced whole (the "eager" backend: the graphs, not their kernels), it takes the same two steps, to the bit."""
    (images, targets), indices = batch(), torch.arange(8)
    method = build(name, tiny.BATCHNORM, tiny.VIT).train()
    plain, traced = copy.deepcopy(method), copy.deepcopy(method)
    assert torch._dynamo.explain(traced)(images, targets, indices).graph_count == GRAPHS.get(name, 1)
    torch._dynamo.reset()
    compiled = torch.compile(method, backend="eager", fullgraph=name not in GRAPHS)
    for _ in range(2):
        torch.manual_seed(0)
        expected = plain(images, targets, indices)
        torch.manual_seed(0)
        found = compiled(images, targets, indices)
        assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)
    for key, value in plain.state_dict().items():
        assert torch.equal(method.state_dict()[key], value), key

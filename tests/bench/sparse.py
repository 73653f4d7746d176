"""What a step of a sparse encoder costs beside one of the same model with nothing hidden from it: time and memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import Tensor

from pat.models import create_model
from pat.sparse import Sparse, Visible
from pat.taps import StageTaps
from tests.bench.clock import interleaved, spread
from tests.bench.compare import Tolerance

ROUNDS, SHARE = 7, 0.4
MODELS = (("convnext_nano_patch1_32", 32, 32), ("resnet18", 128, 4), ("mobilenetv2_100", 128, 4), ("resnet50", 128, 2))
"""A model, the side of its images in pixels, images in a batch."""
TOLERANCE = Tolerance(0.3)
"""Of one machine under a load of 20 to 30."""


def report() -> dict[str, float]:
    """Prints times and the bytes kept for the backward pass; gives the sparse ones over the dense ones.

    Sparse convolution by masking computes every position, so it is dearer, not cheaper, than a dense one.
    """
    torch.set_num_threads(1)
    print(f"forward + backward in train mode, fp32, 1 thread, {SHARE:.0%} of the cells visible, {ROUNDS} rounds:")
    print("                                 sparse over dense: time            bytes kept")
    ratios = {}
    for name, side, batch in MODELS:
        torch.manual_seed(0)
        sparse = Sparse(StageTaps(create_model(name, 0, side).train().to(memory_format=torch.channels_last), side))
        images = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
        cells = side // sparse.cell
        visible = torch.rand(batch, cells**2).argsort(1)[:, : round(SHARE * cells**2)].sort(1).values
        calls: dict[str, Callable[[], Tensor]] = {
            "dense": lambda taps=sparse.taps, images=images: taps(images).maps[-1],  # type: ignore[misc]
            "sparse": lambda sparse=sparse, images=images, visible=visible, cells=cells: sparse(  # type: ignore[misc]
                images, Visible(visible, (cells, cells))
            ).maps[-1],
        }
        times = interleaved({kind: partial(_step, call) for kind, call in calls.items()}, ROUNDS)
        over = [a / b for a, b in zip(times["sparse"], times["dense"], strict=True)]
        kept = {kind: _kept(call) for kind, call in calls.items()}
        memory = kept["sparse"] / kept["dense"]
        print(f"{name:24} {side:4} px   {spread(over)}   {memory:.2f} ({kept['sparse'] / 2**20:.0f} MiB)", flush=True)
        ratios |= {f"{name}/time over dense": median(over), f"{name}/memory over dense": memory}
    return ratios


def _step(call: Callable[[], Tensor]) -> None:
    call().square().mean().backward()


def _kept(call: Callable[[], Tensor]) -> int:
    """Bytes of all tensors that a forward pass keeps for its backward pass, each once; weights among them."""
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = call()
    del out
    return sum(kept.values())

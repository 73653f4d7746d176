"""The order of batches by aspect, and how large an image is shown: against the field's own words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pat.config import Recipe
from pat.views import aspect_batches, epoch_batches
from pat.views.dense import _nearest
from pat.views.placing import Placing, resized, train_placing
from tests.pat.dense_sets import shortest_edge

RECIPE = Recipe(epochs=1, batch_size=4, lr=0.1, interpolation="random", flip=0.5)

sides = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=40)


@settings(deadline=None, max_examples=100)
@given(sides, st.integers(1, 9), st.integers(0, 5), st.integers(0, 5))
def test_batches_by_aspect(sizes: list[tuple[int, int]], size: int, seed: int, epoch: int) -> None:
    """Against the field's loop with two buckets; nothing twice, as many steps as there would be without groups."""
    batches = aspect_batches(torch.tensor(sizes), size, seed, epoch)
    assert batches.shape == (len(sizes) // size, size) and batches.dtype == torch.int64
    order = epoch_batches(len(sizes), 1, seed, epoch).flatten().tolist()
    buckets: dict[bool, list[int]] = {True: [], False: []}
    expected = []
    for index in order:
        bucket = buckets[sizes[index][1] >= sizes[index][0]]
        bucket.append(index)
        if len(bucket) == size:
            expected.append(list(bucket))
            bucket.clear()
    left = sorted([*buckets[True], *buckets[False]], key=order.index)
    if len(left) >= size:
        expected.append(left[:size])
    assert batches.tolist() == expected


def test_images_of_one_kind_come_in_the_usual_order() -> None:
    sizes = torch.tensor([[20, 30]]).repeat(17, 1)
    assert torch.equal(aspect_batches(sizes, 4, 1, 2), epoch_batches(17, 4, 1, 2))
    assert not torch.equal(aspect_batches(sizes, 4, 1, 3), epoch_batches(17, 4, 1, 2))


@settings(deadline=None, max_examples=200)
@given(st.integers(8, 3000), st.integers(8, 3000), st.integers(16, 1200), st.integers(64, 2000))
@example(480, 640, 800, 1333)
@example(448, 640, 395, 165)
def test_sizes_are_detectron2s(height: int, width: int, short: int, longest: int) -> None:
    found = resized(torch.tensor([[height, width]]), torch.tensor([short]), longest)[0].tolist()
    assert found == [max(1, side) for side in shortest_edge(height, width, short, longest)]
    free = resized(torch.tensor([[height, width]]), torch.tensor([short]), 0)[0]
    assert free.tolist() == list(shortest_edge(height, width, short, 10**9)) and int(free.min()) == short


def test_what_is_drawn() -> None:
    """Shorter sides, factors, flips and kernels are even, and each image's own."""
    count = 3000
    sizes, indices = torch.tensor([[100, 150]]).repeat(count, 1), torch.arange(count)
    recipe = dataclasses.replace(RECIPE, sizes=(40, 80, 120), scale=(1.0, 1.0))
    placing = train_placing(sizes, indices, recipe, 0, 0, 0, 1, 2)
    shares = torch.bincount(placing.full[:, 0], minlength=121)[[40, 80, 120]] / count
    assert torch.allclose(shares, torch.full((3,), 1 / 3), atol=0.04)
    for drawn in (placing.flip, placing.cubic):
        assert drawn.float().mean() == pytest.approx(0.5, abs=0.04)
    factors = train_placing(sizes, indices, dataclasses.replace(recipe, sizes=(), scale=(0.5, 2.0)), 1000, 0, 0, 1, 2)
    factor = factors.full[:, 0] / 1000
    assert factor.min() >= 0.5 and factor.max() <= 2 and factor.mean() == pytest.approx(1.25, abs=0.03)
    assert ((factor > 0.5 + 0.15) & (factor < 0.5 + 0.3)).float().mean() == pytest.approx(0.1, abs=0.02)  # uniform
    cut = train_placing(sizes, indices, recipe, 0, 0, 64, 1, 2)
    big = cut.full[:, 0] == 80  # 80 x 120: 17 places down, 57 across
    assert (cut.corner[big] >= 0).all() and (cut.corner[big] + 64 <= cut.full[big]).all()
    assert cut.corner[big, 0].unique().tolist() == list(range(17)) and len(cut.corner[big, 1].unique()) == 57
    small = cut.full[:, 0] == 40
    assert (cut.size[small] == torch.tensor([40, 60])).all() and (cut.corner[small] == 0).all()
    other = train_placing(sizes, indices, recipe, 0, 0, 0, 1, 3)
    assert (other.full != placing.full).any() and (other.flip != placing.flip).any()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 300))
@example(6, 9)
@example(3, 1)
def test_nearest_is_pils(source: int, full: int) -> None:
    """Along a line of any length to any other."""
    size, no = torch.tensor([[1, full]]), torch.zeros(1, dtype=torch.bool)
    placing = Placing(torch.tensor([[1, source]]), size, torch.zeros_like(size), size, no, no)
    line = Image.fromarray(np.arange(source, dtype=np.uint8)[None])
    assert _nearest(placing, 0, 1).tolist() == np.array(line.resize((full, 1), Image.Resampling.NEAREST))[0].tolist()

"""What a detector learns from: matched, balanced, drawn by hash from what a candidate is."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou

from pat.counter import hash64
from pat.dense.anchors import make_anchors
from pat.dense.sampling import balanced, match
from pat.dense.valid import valid_area

KINDS = st.lists(st.sampled_from([-1, 0, 1]), max_size=40).map(lambda kinds: torch.tensor(kinds, dtype=torch.int64))


@given(KINDS, st.integers(0, 2**62), st.integers(1, 30), st.sampled_from([0.25, 0.5, 1.0]))
def test_counts_and_balance(kinds: Tensor, key: int, count: int, share: float) -> None:
    drawn = balanced(kinds, hash64(key, torch.arange(len(kinds))), count, share)
    positive, negative = int((kinds == 1).sum()), int((kinds == 0).sum())
    chosen = kinds[drawn]
    assert drawn.tolist() == sorted(set(drawn.tolist())) and -1 not in chosen.tolist()
    assert int((chosen == 1).sum()) == min(positive, int(count * share))
    assert int((chosen == 0).sum()) == min(negative, count - min(positive, int(count * share)))


@given(KINDS, st.integers(0, 2**62), st.integers(1, 30))
def test_the_smallest_priorities_are_drawn(kinds: Tensor, key: int, count: int) -> None:
    priority = hash64(key, torch.arange(len(kinds)))
    drawn = set(balanced(kinds, priority, count, 0.5).tolist())
    for kind in (0, 1):
        mine = torch.where(kinds == kind)[0].tolist()
        taken = [int(priority[i]) for i in mine if i in drawn]
        left = [int(priority[i]) for i in mine if i not in drawn]
        assert not taken or not left or max(taken) < min(left)


def test_every_candidate_is_as_likely() -> None:
    kinds = torch.tensor([1] * 8 + [0] * 24)
    times = torch.zeros(32)
    for key in range(2000):
        times[balanced(kinds, hash64(key, torch.arange(32)), 8, 0.5)] += 1
    torch.testing.assert_close(times / 2000, torch.tensor([4 / 8] * 8 + [4 / 24] * 24), rtol=0, atol=0.05)


def test_an_images_anchors_do_not_depend_on_the_canvas() -> None:
    """An image with larger neighbours, so on a larger canvas, learns from the same anchors."""
    size, truth, seen = torch.tensor([[40, 56]]), torch.tensor([[3.0, 5.0, 30.0, 38.0]]), []
    for canvas in ((64, 64), (96, 128)):
        grids = [(canvas[0] // stride, canvas[1] // stride) for stride in (4, 8, 16)]
        anchors = make_anchors(grids, (4, 8, 16), (8, 16, 32), torch.device("cpu"))
        at = torch.where(anchors.inside(size)[0])[0]
        kinds, _ = match(truth, anchors.boxes[at], 0.3, 0.7, each=True)
        drawn = at[balanced(kinds, hash64(5, 0, anchors.codes[at]), 32, 0.5)]
        seen.append((anchors.codes[drawn], anchors.boxes[drawn]))
    assert torch.equal(seen[0][0], seen[1][0]) and torch.equal(seen[0][1], seen[1][1])


def test_anchors_on_the_image_are_those_of_the_valid_cells() -> None:
    canvas, sizes = (64, 96), torch.tensor([[64, 96], [40, 56], [33, 1]])
    grids = [(16, 24), (8, 12), (4, 6)]
    inside = make_anchors(grids, (4, 8, 16), (8, 16, 32), torch.device("cpu")).inside(sizes)
    cells = [valid_area(sizes, canvas, grid).flatten(1) for grid in grids]
    assert torch.equal(inside, torch.cat(cells, dim=1).repeat_interleave(3, dim=1))


def boxes(draws: list[tuple[int, int, int, int]]) -> Tensor:
    return torch.tensor([[x, y, x + w, y + h] for x, y, w, h in draws], dtype=torch.float32).reshape(-1, 4)


BOXES = st.lists(st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 20)] * 2), max_size=6).map(boxes)


@given(BOXES, BOXES, st.booleans())
def test_matches_are_the_literal_ones(true: Tensor, candidates: Tensor, each: bool) -> None:
    kinds, index = match(true, candidates, 0.3, 0.7, each)
    overlaps = box_iou(true, candidates)
    for j in range(len(candidates)):
        found = overlaps[:, j].tolist()
        best = torch.tensor(max(found, default=0.0))
        forced = each and any(found[i] == float(overlaps[i].max()) for i in range(len(true)))
        expected = 1 if forced or best >= 0.7 else 0 if best < 0.3 else -1
        assert int(kinds[j]) == expected
        if expected == 1:
            assert found[int(index[j])] == float(best)
    assert index.shape == kinds.shape == (len(candidates),) and (index >= 0).all()

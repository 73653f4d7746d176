"""Box AP against pycocotools, mIoU against a literal loop."""

from __future__ import annotations

import contextlib
import io
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pat.config import ConfigError
from pat.dense.ap import NAMES, Truths, as_coco, as_results, box_ap
from pat.dense.detector import Detections
from pat.dense.miou import confusion, mean_iou, pixel_accuracy


def some_truths(seed: int, crowds: bool = True) -> Truths:
    """Objects of all sizes on eight images, the third of which has none."""
    draw = torch.Generator().manual_seed(seed)
    counts = [5, 3, 0, 7, 1, 4, 6, 2]
    total = sum(counts)
    corners = torch.rand(total, 2, generator=draw) * 200
    edges = 5 + torch.rand(total, 2, generator=draw) ** 2 * 250
    crowd = torch.rand(total, generator=draw) < 0.2 * crowds
    area = edges.prod(dim=1) * (0.5 + 0.5 * torch.rand(total, generator=draw))
    labels = torch.randint(1, 5, (total,), generator=draw)
    return Truths(torch.cat([corners, corners + edges], 1), labels, crowd, area, counts, torch.full((8, 2), 500))


def jittered(truths: Truths, seed: int) -> list[Detections]:
    """Each object found up to twice, not quite in place, sometimes as another class."""
    draw, found = torch.Generator().manual_seed(seed), []
    for boxes, labels in zip(truths.boxes.split(truths.counts), truths.labels.split(truths.counts), strict=True):
        places = boxes.repeat(2, 1)
        places = places + torch.randn(places.shape, generator=draw) * 0.05 * (places[:, 2:] - places[:, :2]).repeat(
            1, 2
        )
        wrong = torch.rand(len(places), generator=draw) < 0.15
        classes = torch.where(wrong, torch.randint(1, 5, (len(places),), generator=draw), labels.repeat(2))
        found.append(Detections(places, torch.rand(len(places), generator=draw), classes))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_ap_is_pycocotools(seed: int) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    truths = some_truths(seed)
    found = jittered(truths, seed + 10)
    ground = coco.COCO()
    ground.dataset = as_coco(truths)
    with contextlib.redirect_stdout(io.StringIO()):
        ground.createIndex()
        evaluation = COCOeval(ground, ground.loadRes(as_results(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    own = box_ap(truths, found)
    assert list(own) == list(NAMES.values()) and 5 < own["ap"] < 95
    for name, expected in zip(NAMES.values(), evaluation.stats[:6], strict=True):
        assert own[name] == pytest.approx(100 * expected, abs=1e-9)


def test_the_truth_itself_is_perfect() -> None:
    truths = some_truths(0, crowds=False)
    parts = zip(truths.boxes.split(truths.counts), truths.labels.split(truths.counts), strict=True)
    found = [Detections(boxes, torch.ones(len(boxes)), labels) for boxes, labels in parts]
    assert box_ap(truths, found) == dict.fromkeys(NAMES.values(), pytest.approx(100.0, abs=1e-9))


def test_nothing_found_is_zero() -> None:
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert box_ap(some_truths(0), [nothing] * 8) == dict.fromkeys(NAMES.values(), 0.0)


def test_one_box_by_hand() -> None:
    """Found with an overlap of 0.62, it counts at the thresholds 0.50, 0.55 and 0.60: a third of ten, and is large."""
    whole, part = torch.tensor([[10.0, 20.0, 110.0, 120.0]]), torch.tensor([[10.0, 20.0, 110.0, 82.0]])
    one, no = torch.tensor([1]), torch.tensor([False])
    truths = Truths(whole, one, no, torch.tensor([1e4]), [1], torch.tensor([[200, 200]]))
    found = box_ap(truths, [Detections(part, torch.tensor([0.9]), one)])
    assert found == {"ap": pytest.approx(30.0), "ap50": 100.0, "ap75": 0.0, "apl": pytest.approx(30.0)}


def test_boxes_in_a_crowd_are_no_mistakes() -> None:
    """Three sure detections inside a crowd's box do not count; without the crowd they would come before the hit."""
    boxes = torch.tensor([[0.0, 0.0, 100.0, 100.0], [200.0, 0.0, 300.0, 100.0]])
    inside = torch.tensor([[x, x, x + 40.0, x + 40.0] for x in (0.0, 20.0, 60.0)])
    found = Detections(torch.cat([inside, boxes[1:]]), torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.ones(4).long())
    area, size, labels = torch.full((2,), 1e4), torch.tensor([[400, 400]]), torch.ones(2).long()
    assert box_ap(Truths(boxes, labels, torch.tensor([True, False]), area, [2], size), [found])["ap"] == 100
    alone = Truths(boxes[1:], labels[1:], torch.tensor([False]), area[1:], [1], size)
    assert box_ap(alone, [found])["ap"] == pytest.approx(25)


def test_without_the_evaluator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(
        ConfigError, match="^detection is scored with faster-coco-eval.*: pip install 'faster-coco-eval>=1.8'$"
    ):
        box_ap(some_truths(0), jittered(some_truths(0), 1))


PIXELS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3, 255])), min_size=1, max_size=60)


def loop(pairs: list[tuple[int, int]]) -> tuple[float, float]:
    counted = [(p, t) for p, t in pairs if t != 255]
    shares = []
    for label in range(4):
        both = sum(p == t == label for p, t in counted)
        either = sum(label in (p, t) for p, t in counted)
        if either:
            shares.append(both / either)
    return 100 * sum(shares) / len(shares), 100 * sum(p == t for p, t in counted) / len(counted)


def both(pairs: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    predicted, truth = zip(*pairs, strict=True)
    return torch.tensor(predicted), torch.tensor(truth, dtype=torch.uint8)


@given(PIXELS, PIXELS)
def test_miou_of_a_set_is_the_literal_one(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    matrix = confusion(*both(first), 4, 255) + confusion(*both(second), 4, 255)
    joined = first + second
    assert int(matrix.sum()) == sum(truth != 255 for _, truth in joined)
    if matrix.any():
        assert (mean_iou(matrix), pixel_accuracy(matrix)) == pytest.approx(loop(joined))


def test_rows_are_the_truth() -> None:
    matrix = confusion(torch.tensor([[1, 1], [0, 2]]), torch.tensor([[0, 1], [0, 255]]), 3, 255)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert mean_iou(matrix) == 50.0 and pixel_accuracy(matrix) == pytest.approx(200 / 3)

"""The losses of Faster R-CNN against literal ones and torchvision's."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.models.detection.roi_heads import fastrcnn_loss

from pat.counter import hash64
from pat.dense import detector as module
from pat.dense.anchors import RATIOS
from tests.pat.dense import detector, images, levels_of, truth


def overlap(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def way(box: list[float], true: list[float], weights: tuple[float, ...]) -> list[float]:
    """From `box` to `true`: shifts in widths and heights, logarithms of the growth."""
    (x, y, w, h), (tx, ty, tw, th) = (
        ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]) for b in (box, true)
    )
    return [
        weight * value
        for weight, value in zip(weights, ((tx - x) / w, (ty - y) / h, math.log(tw / w), math.log(th / h)), strict=True)
    ]


@pytest.mark.parametrize("count", [12, 5000])
def test_proposal_losses_are_the_literal_ones(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn are a few of the anchors, or all: the divisor is the number to be drawn, not that of those there are."""
    monkeypatch.setattr(module, "ANCHORS_DRAWN", count)
    model, targets = detector(), truth()
    levels = levels_of(model, images())
    samples = model.sample(levels, targets)
    scores, deltas = model.rpn(list(levels))
    entropy = distance = 0.0
    for image in range(2):
        height, width = targets.sizes[image].tolist()
        true = targets.boxes.split(targets.counts)[image].tolist()
        candidates = []  # (code, box, objectness, delta) of each anchor whose centre is on the image
        for level, stride in enumerate((4, 8, 16, 32, 64)):
            for row in range(levels[level].shape[2]):
                for column in range(levels[level].shape[3]):
                    for shape, ratio in enumerate(RATIOS):
                        y, x = row * stride, column * stride
                        w, h = model.anchors[level] / ratio**0.5, model.anchors[level] * ratio**0.5
                        if y < height and x < width:
                            code = ((level * 2**20 + row) * 2**20 + column) * 3 + shape
                            at = (image, slice(4 * shape, 4 * shape + 4), row, column)
                            candidates.append(
                                (
                                    code,
                                    [x - w / 2, y - h / 2, x + w / 2, y + h / 2],
                                    float(scores[level][image, shape, row, column].detach()),
                                    deltas[level][at].tolist(),
                                )
                            )
        overlaps = [[overlap(box, candidate[1]) for box in true] for candidate in candidates]
        best = [max(column) for column in zip(*overlaps, strict=True)]
        positive, negative = [], []
        for candidate, found in zip(candidates, overlaps, strict=True):
            mine = max(range(len(true)), key=found.__getitem__)
            own = found[mine] >= 0.7 or any(abs(a - b) < 1e-6 for a, b in zip(found, best, strict=True))
            if own:
                positive.append((candidate, true[mine]))
            elif found[mine] < 0.3:
                negative.append((candidate, None))
        order = lambda pair: int(hash64(int(targets.keys[image]), 0, pair[0][0]))  # noqa: E731, B023
        drawn = sorted(positive, key=order)[: count // 2]
        drawn += sorted(negative, key=order)[: count - len(drawn)]
        for (_, box, score, delta), mine in drawn:
            entropy += math.log1p(math.exp(-score if mine else score))
            if mine:
                distance += sum(abs(a - b) for a, b in zip(delta, way(box, mine, (1, 1, 1, 1)), strict=True))
    found = {name: float(loss.detach()) for name, loss in samples.proposal.items()}
    assert found["rpn_objectness"] == pytest.approx(entropy / (2 * count), rel=1e-5)
    assert found["rpn_box"] == pytest.approx(distance / (2 * count), rel=1e-4)


def test_region_losses_are_the_literal_ones() -> None:
    model, targets = detector(), truth()
    levels = levels_of(model, images())
    samples = model.sample(levels, targets)
    logits, deltas = model.regions(levels, samples)
    losses = {name: float(loss.detach()) for name, loss in model.losses(samples, logits, deltas).items()}
    entropy = distance = 0.0
    for region, label, found, own in zip(
        samples.regions.tolist(), samples.labels.tolist(), logits.tolist(), deltas.tolist(), strict=True
    ):
        true = targets.boxes.split(targets.counts)[int(region[0])].tolist()
        classes = targets.labels.split(targets.counts)[int(region[0])].tolist()
        overlaps = [overlap(region[1:], box) for box in true]
        mine = max(range(len(true)), key=overlaps.__getitem__)
        assert label == (classes[mine] if overlaps[mine] >= 0.5 else 0)
        entropy += math.log(sum(math.exp(x) for x in found)) - found[label]
        if label:
            wanted = way(region[1:], true[mine], (10, 10, 5, 5))
            distance += sum(abs(a - b) for a, b in zip(own[4 * label : 4 * label + 4], wanted, strict=True))
    assert (samples.labels > 0).any() and (samples.labels == 0).any()
    assert losses["roi_class"] == pytest.approx(entropy / len(logits), rel=1e-5)
    assert losses["roi_box"] == pytest.approx(distance / len(logits), rel=1e-5)


def test_region_losses_are_torchvisions_at_its_beta() -> None:
    model = detector(box_beta=1 / 9)
    levels = levels_of(model, images())
    samples = model.sample(levels, truth())
    logits, deltas = model.regions(levels, samples)
    own = model.losses(samples, logits, deltas)
    expected = fastrcnn_loss(logits, deltas, [samples.labels], [samples.deltas])
    torch.testing.assert_close((own["roi_class"], own["roi_box"]), expected)

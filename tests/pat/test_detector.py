"""Faster R-CNN: its parts against torchvision's, samples as functions of images."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork

from pat import gather
from pat.dense import detector as module
from pat.dense.anchors import RATIOS, make_anchors
from pat.dense.detector import Samples
from pat.errors import ConfigError
from tests.pat.dense import CANVAS, CNN, NOTHING, SWIN, detector, images, levels_of, of_image, step, truth


def test_anchors_are_torchvisions_but_for_its_rounding() -> None:
    grids, sizes = [(16, 24), (8, 12), (4, 6), (2, 3)], (8, 16, 32, 64)
    theirs = AnchorGenerator(tuple((size,) for size in sizes), (RATIOS,) * 4)
    found = theirs.grid_anchors(grids, [(torch.tensor(s), torch.tensor(s)) for s in (4, 8, 16, 32)])
    own = make_anchors(grids, (4, 8, 16, 32), sizes, torch.device("cpu"))
    assert own.counts == tuple(len(part) for part in found)
    assert (own.boxes - torch.cat(found)).abs().max() <= 0.5
    assert len(own.codes.unique()) == len(own.codes)
    areas = (own.boxes[:, 2:] - own.boxes[:, :2]).prod(dim=1)
    torch.testing.assert_close(
        areas, torch.cat([torch.full((n,), s**2.0) for n, s in zip(own.counts, sizes, strict=True)])
    )


@pytest.mark.parametrize(("per_level", "kept"), [(2000, 1000), (40, 30)])
def test_proposals_and_detections_are_torchvisions(per_level: int, kept: int) -> None:
    model = detector(proposals=(per_level, per_level, kept)).eval()
    with torch.no_grad():
        model.rpn.cls_logits.weight.mul_(300)  # else its probabilities, by which torchvision sorts, are all but one
        model.rpn.bbox_pred.weight.mul_(30)
        model.predictor.cls_score.weight.mul_(300)
        model.predictor.bbox_pred.weight.mul_(3000)
        x, sizes = images(), torch.tensor([CANVAS, CANVAS])
        levels = levels_of(model, x)
        objectness, deltas, anchors = model._propose(levels)
        inside = torch.ones_like(objectness, dtype=torch.bool)
        boxes = model._kept(objectness, deltas, anchors, inside, sizes, per_level)
        counts = {"training": per_level, "testing": per_level}, {"training": kept, "testing": kept}
        rpn = RegionProposalNetwork(nn.Identity(), model.rpn, 0.7, 0.3, 256, 0.5, *counts, 0.7)
        moved = rpn.box_coder.decode(deltas.flatten(0, 1), [anchors.boxes] * 2).view(2, -1, 4)
        expected, _ = rpn.filter_proposals(moved, objectness.flatten(), [CANVAS, CANVAS], list(anchors.counts))
        torch.testing.assert_close(boxes, expected)
        logits, ways = model._answer(levels, module._with_image(boxes))
        heads = RoIHeads(None, None, None, 0.5, 0.5, 512, 0.25, None, 0.05, 0.5, 100)
        found = model(x, sizes)
        theirs = heads.postprocess_detections(logits, ways, boxes, [CANVAS, CANVAS])
    for i, one in enumerate(found):
        assert len(one.boxes) > 10
        torch.testing.assert_close((one.boxes, one.scores, one.labels), (theirs[0][i], theirs[1][i], theirs[2][i]))


def test_a_region_is_read_where_it_lies() -> None:
    """On maps that hold the x of each pixel, a region's features are the x of its bins, on any level."""
    model = detector()
    grids = [(256 // stride, 256 // stride) for stride in model.strides]
    maps = [
        ((torch.arange(w) + 0.5) * stride).expand(1, 8, h, w).contiguous()
        for (h, w), stride in zip(grids, model.strides, strict=True)
    ]
    for box in ([20.0, 30.0, 50.0, 60.0], [37.0, 40.0, 190.0, 200.0], [32.0, 32.0, 224.0, 240.0]):
        pooled = model._pool(maps, torch.tensor([[0.0, *box]]))
        bins = box[0] + (torch.arange(7) + 0.5) * (box[2] - box[0]) / 7
        torch.testing.assert_close(pooled, bins.expand(1, 8, 7, 7), rtol=1e-4, atol=1e-3)


def test_larger_regions_are_read_on_coarser_levels() -> None:
    model = detector()
    maps = [torch.full((1, 8, 1024 // stride, 1024 // stride), float(i)) for i, stride in enumerate(model.strides)]
    edges = (5, 111, 112, 223, 224, 447, 448, 1000)
    regions = torch.tensor([[0.0, 0.0, 0.0, edge, edge] for edge in edges])
    assert model._pool(maps, regions)[:, 0, 3, 3].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("name", [CNN, SWIN])
def test_a_step_is_a_function_of_its_batch(name: str) -> None:
    model = detector(name)
    model.backbone.eval()  # drop path draws from the global generator, as it does in classification
    seen = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        one = copy.deepcopy(model)
        samples, losses = step(one, images(), truth())
        sum(losses.values()).backward()
        gradients = {key: p.grad for key, p in one.named_parameters() if p.grad is not None}
        seen.append((samples, losses, gradients))
    (a, a_losses, a_gradients), (b, b_losses, b_gradients) = seen
    assert torch.equal(a.regions, b.regions) and torch.equal(a.labels, b.labels)
    assert all(torch.equal(a_losses[key], b_losses[key]) for key in a_losses | b_losses)
    assert any("backbone" in key for key in a_gradients) and any("rpn" in key for key in a_gradients)
    assert all(torch.equal(a_gradients[key], b_gradients[key]) for key in a_gradients | b_gradients)


def test_other_bits_draw_other_samples() -> None:
    model, x = detector(), images()
    drawn = [
        model.sample(levels_of(model, x), dataclasses.replace(truth(), keys=torch.tensor(keys)))
        for keys in ([7, -8], [9, -8])
    ]
    parts = [[s.regions[s.regions[:, 0] == image] for image in (0, 1)] for s in drawn]
    assert not torch.equal(parts[0][0], parts[1][0]) and torch.equal(parts[0][1], parts[1][1])


def test_two_workers_are_one() -> None:
    """Two workers with an image each draw what one with both draws; their mean losses and gradients are its own."""
    model, x = detector(), images()
    whole, together = model.sample(levels_of(model, x), truth()), levels_of(model, x)
    levels = [levels_of(model, x[i : i + 1]) for i in (0, 1)]
    samples = [model.sample(levels[i], of_image(truth(), i)) for i in (0, 1)]
    for image, one in enumerate(samples):
        mine = whole.regions[:, 0] == image
        torch.testing.assert_close(one.regions[:, 1:], whole.regions[mine, 1:], rtol=0, atol=1e-3)
        assert torch.equal(one.labels, whole.labels[mine])
    first = len(samples[0].regions)
    whole, samples[1] = cut(whole, first + 9), cut(samples[1], 9)  # the second image has fewer regions than the first
    gradients = []
    for parts, count in (([(whole, together)], 1), (list(zip(samples, levels, strict=True)), 2)):
        model.zero_grad()
        losses = []
        for one, own in parts:
            share = torch.tensor(len(one.regions) / ((first + 9) / count))
            one = dataclasses.replace(one, share=share)
            losses.append(model.losses(one, *model.regions(own, one)))
        mean = {name: sum(part[name] for part in losses) / count for name in losses[0]}
        sum(mean.values()).backward()
        gradients.append((mean, [p.grad for p in model.parameters() if p.grad is not None]))
    assert len(gradients[0][1]) > 30
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def cut(samples: Samples, count: int) -> Samples:
    """The first regions alone."""
    rows = {name: getattr(samples, name)[:count] for name in ("regions", "labels", "deltas")}
    return dataclasses.replace(samples, **rows)


def test_a_share_is_the_own_number_over_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    model = detector()
    levels = levels_of(model, images())
    assert model.sample(levels, truth()).share is None
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(gather, "global_mean", lambda count: (count + 16) / 2)
    samples = model.sample(levels, truth())
    assert samples.share is not None and samples.share.item() == 48 / 32 and len(samples.regions) == 48
    monkeypatch.setattr(gather, "global_mean", torch.zeros_like)
    nothing = gather.share_of(torch.tensor(0))
    assert nothing is not None and nothing.item() == 0


def test_a_teacher_answers_for_the_students_regions() -> None:
    student = detector()
    teacher, x, runs = copy.deepcopy(student), images(), []
    for model in (student, teacher):
        model.head.register_forward_hook(lambda head, *_: runs.append(id(head)))
    levels = levels_of(student, x)
    samples = student.sample(levels, truth())
    logits, deltas = student.regions(levels, samples)
    told, _ = teacher.regions(levels_of(teacher, x), samples)
    student.losses(samples, logits, deltas)
    assert torch.equal(logits, told) and logits.requires_grad
    assert sorted(runs) == sorted([id(student.head), id(teacher.head)])
    other = detector(SWIN, width=16)
    answer, _ = other.regions(levels_of(other, x), samples)
    assert answer.shape == logits.shape == (len(samples.regions), 6)


@pytest.mark.parametrize("canvas", [CANVAS, (96, 64)])
def test_nothing_is_found_on_padding(canvas: tuple[int, int]) -> None:
    model = detector().eval()
    with torch.no_grad():
        model.predictor.cls_score.weight.mul_(300)
        x, targets = images(canvas=canvas), truth(canvas)
        samples = model.sample(levels_of(model, x), targets)
        found = model(x, targets.sizes)
    for image, (height, width) in enumerate(targets.sizes.tolist()):
        boxes = samples.regions[samples.regions[:, 0] == image][:, 1:]
        for some in (boxes, found[image].boxes):
            assert len(some) and (some >= 0).all()
            assert (some[:, 2] <= width).all() and (some[:, 3] <= height).all()
            assert (some[:, 2] > some[:, 0]).all() and (some[:, 3] > some[:, 1]).all()
        assert (found[image].scores.diff() <= 0).all() and found[image].labels.min() >= 1


def test_nothing_is_proposed_by_padding() -> None:
    """However sure the anchors on padding are, what is proposed comes from those on the image."""
    model, sizes = detector(), truth().sizes
    with torch.no_grad():
        objectness, deltas, anchors = model._propose(levels_of(model, images()))
    inside, proposed = anchors.inside(sizes), []
    for on_padding in (-100.0, 100.0):
        scores = torch.where(inside, objectness, on_padding)
        proposed.append(model._kept(scores, deltas, anchors, inside, sizes, 50))
    assert not inside[1].all() and all(torch.equal(a, b) for a, b in zip(*proposed, strict=True))


def test_heads_start_as_detectron2s() -> None:
    model = detector(hidden=400)
    predictor, head = model.predictor, model.head
    assert predictor.cls_score.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert predictor.bbox_pred.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert head.fc7.weight.abs().max().item() == pytest.approx((3 / 400) ** 0.5, rel=0.01)
    layers = (predictor.cls_score, predictor.bbox_pred, head.fc6, head.fc7)
    assert not any(layer.bias.any() for layer in layers)


def test_images_without_boxes() -> None:
    model = detector()
    samples, losses = step(model, images(), NOTHING)
    assert len(samples.regions) == 48 and not samples.labels.any() and not samples.deltas.any()
    assert losses["rpn_box"].item() == losses["roi_box"].item() == 0
    assert losses["rpn_objectness"].item() > 0 and losses["roi_class"].item() > 0
    sum(losses.values()).backward()


def test_no_proposal_at_all() -> None:
    model = detector()
    nn.init.constant_(model.rpn.bbox_pred.bias, -100.0)  # every anchor shrinks to a point
    samples, losses = step(model, images(), NOTHING)
    assert samples.regions.shape == (0, 5) and losses["roi_class"].item() == losses["roi_box"].item() == 0
    sum(losses.values()).backward()
    samples, _ = step(model, images(), truth())
    assert len(samples.regions) == 3 and samples.labels.tolist() == [1, 3, 5]  # the true boxes themselves
    assert [len(one.boxes) for one in model.eval()(images(), truth().sizes)] == [0, 0]


@pytest.mark.parametrize("name", [CNN, SWIN])
def test_bf16(name: str) -> None:
    model, x = detector(name), images()
    with torch.autocast("cpu", torch.bfloat16):
        levels = levels_of(model, x)
        samples = model.sample(levels, truth())
        logits, deltas = model.regions(levels, samples)
        losses = model.losses(samples, logits, deltas)
        with torch.no_grad():
            found = model.eval()(x, truth().sizes)
    assert levels[0].dtype == torch.bfloat16
    numbers = [samples.regions, samples.deltas, logits, deltas, *losses.values(), *(one.boxes for one in found)]
    assert all(one.dtype == torch.float32 and one.isfinite().all() for one in numbers)
    sum(losses.values()).backward()


def test_anchors_are_one_size_a_level() -> None:
    with pytest.raises(ConfigError, match=r"anchors = \(8, 16\): 5 positive sizes"):
        detector(anchors=(8, 16))

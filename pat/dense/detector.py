"""Faster R-CNN on the pyramid of a timm backbone (Ren et al. 2015, Lin et al. 2017), of torchvision's parts.

As in detectron2's R50-FPN, where it and torchvision differ: L1 losses of boxes; the proposal losses are divided by the
number of anchors to be drawn, a constant; 2,000 proposals a level (1,000 in evaluation) before NMS, 1,000 an image
after it; anchors and RoIAlign (`aligned`, adaptive sampling); the initial weights of the heads. As in torchvision:
class 0 is the background, and each class has its own box. Ours: anchors whose centre lies on padding do not exist, and
anchors and regions are drawn by hash (`pat.dense.sampling`), so an image's samples depend on no other image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes, roi_align
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from pat.counter import hash64
from pat.dense.anchors import RATIOS, Anchors, make_anchors
from pat.dense.fpn import Pyramid
from pat.dense.sampling import balanced, match
from pat.errors import ConfigError
from pat.gather import share_of
from pat.layouts import Size

ANCHORS_DRAWN, ANCHORS_POSITIVE, REGIONS_POSITIVE = 256, 0.5, 0.25
"""Anchors an image that the proposal losses see, and the largest share of them, and of the regions, on objects."""
BACKGROUND, OBJECT, REGION = 0.3, 0.7, 0.5
"""Overlap below which an anchor is background, from which it is on an object, from which a region is."""
PROPOSAL_NMS, SCORE, NMS, DETECTIONS = 0.7, 0.05, 0.5, 100
POOLED = 7
_DRAW_ANCHOR, _DRAW_REGION = range(2)


class Targets(Protocol):
    """What a detector gets to know of a batch: `boxes` float32 [M, 4] (x0, y0, x1, y1 in pixels of the canvas) and
    `labels` int64 [M] from 1, `counts` of each image, `sizes` int64 [B, 2] (heights, widths), `keys` int64 [B], random
    bits of each image."""

    @property
    def boxes(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...
    @property
    def counts(self) -> tuple[int, ...]: ...
    @property
    def sizes(self) -> Tensor: ...
    @property
    def keys(self) -> Tensor: ...


@dataclass(frozen=True)
class Samples:
    """The regions that a detector answers for, and what its losses need of them; another detector can answer too.

    `regions` [R, 5]: image in the batch and box on the canvas; `labels` int64 [R], 0 is background; `deltas` [R, 4]:
    the way to the true box. `proposal`: losses of the proposals. `share`: a mean over these regions times `share`,
    averaged over the workers, is the mean over the regions of all; None with one worker.
    """

    regions: Tensor
    labels: Tensor
    deltas: Tensor
    proposal: Mapping[str, Tensor]
    share: Tensor | None = None


@dataclass(frozen=True)
class Detections:
    """What was found on an image, best first: `boxes` [D, 4] on the canvas, `scores` [D], `labels` int64 [D]."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Detector(Pyramid):
    """`num_classes` counts no background. `canvas` (h, w): the nominal one. `anchors`: edge in pixels for each level.

    `proposals`: kept per level before NMS in training and in evaluation, and per image after it. `regions`: drawn per
    image. `box_beta`: where the losses of boxes turn from squares to absolute values; 0 is L1, torchvision has 1/9.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        canvas: Size,
        *,
        width: int = 256,
        anchors: Sequence[float] = (32, 64, 128, 256, 512),
        proposals: tuple[int, int, int] = (2000, 1000, 1000),
        regions: int = 512,
        hidden: int = 1024,
        box_beta: float = 0.0,
    ) -> None:
        super().__init__(backbone, canvas, width, LastLevelMaxPool())
        self.strides.append(2 * self.strides[-1])
        if len(anchors) != len(self.strides) or min(anchors) <= 0:
            raise ConfigError(f"anchors = {anchors!r}: {len(self.strides)} positive sizes in pixels, one a level")
        self.anchors, self.proposals, self.num_regions, self.box_beta = anchors, proposals, regions, box_beta
        self.rpn = RPNHead(width, len(RATIOS))
        self.head = TwoMLPHead(width * POOLED**2, hidden)
        self.predictor = FastRCNNPredictor(hidden, num_classes + 1)
        for layer in (self.head.fc6, self.head.fc7):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
        for layer, std in ((self.predictor.cls_score, 0.01), (self.predictor.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
        self.anchor_coder, self.region_coder = BoxCoder((1.0, 1.0, 1.0, 1.0)), BoxCoder((10.0, 10.0, 5.0, 5.0))

    def sample(self, levels: Sequence[Tensor], targets: Targets) -> Samples:
        """Proposes regions, draws those to learn from, and measures the proposals against the true boxes."""
        objectness, deltas, anchors = self._propose(levels)
        inside = anchors.inside(targets.sizes)
        proposed = self._kept(objectness, deltas, anchors, inside, targets.sizes, self.proposals[0])
        truths, classes = targets.boxes.split(targets.counts), targets.labels.split(targets.counts)
        losses = self._proposal_losses(objectness, deltas, anchors, inside, truths, targets.keys)
        drawn = [self._draw(*image) for image in zip(proposed, truths, classes, targets.keys, strict=True)]
        regions, labels, ways = ([part[i] for part in drawn] for i in range(3))
        placed = _with_image(regions)
        share = share_of(torch.tensor(len(placed), device=placed.device))
        return Samples(placed, torch.cat(labels), torch.cat(ways), losses, share)

    def regions(self, levels: Sequence[Tensor], samples: Samples) -> tuple[Tensor, Tensor]:
        """The answer for the sampled regions: class logits [R, C + 1] and box deltas [R, 4 (C + 1)], float32."""
        return self._answer(levels, samples.regions)

    def losses(self, samples: Samples, logits: Tensor, deltas: Tensor) -> dict[str, Tensor]:
        """The losses of the proposals, and the cross entropy and box distance of the regions, means over regions."""
        count = max(len(logits), 1)
        positive = torch.where(samples.labels > 0)[0]
        own = deltas.unflatten(1, (-1, 4))[positive, samples.labels[positive]]
        region = {
            "roi_class": F.cross_entropy(logits, samples.labels, reduction="sum") / count,
            "roi_box": self._distance(own, samples.deltas[positive]) / count,
        }
        if samples.share is not None:
            region = {name: value * samples.share for name, value in region.items()}
        return {**samples.proposal, **region}

    def forward(self, images: Tensor, sizes: Tensor) -> list[Detections]:
        """What is on the images [B, 3, H, W], whose heights and widths on the canvas are `sizes` int64 [B, 2]."""
        levels = self.pyramid(self.taps(images).maps)
        objectness, deltas, anchors = self._propose(levels)
        boxes = self._kept(objectness, deltas, anchors, anchors.inside(sizes), sizes, self.proposals[1])
        logits, ways = self._answer(levels, _with_image(boxes))
        counts = [len(found) for found in boxes]
        answers = zip(boxes, logits.softmax(dim=1).split(counts), ways.split(counts), sizes.tolist(), strict=True)
        return [self._found(*answer) for answer in answers]

    def _propose(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Anchors]:
        """Objectness [B, A] and deltas [B, A, 4] of all anchors of the levels, float32, and the anchors."""
        scores, deltas = self.rpn(list(levels))
        grids = [(x.shape[2], x.shape[3]) for x in levels]
        return (
            torch.cat([x.permute(0, 2, 3, 1).flatten(1) for x in scores], dim=1).float(),
            torch.cat([x.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3) for x in deltas], dim=1).float(),
            make_anchors(grids, self.strides, self.anchors, levels[0].device),
        )

    @torch.no_grad()
    def _kept(
        self, objectness: Tensor, deltas: Tensor, anchors: Anchors, inside: Tensor, sizes: Tensor, per_level: int
    ) -> list[Tensor]:
        """The proposals [P, 4] of each image, best first: the best anchors of each level, moved, without repeats."""
        scores = objectness.masked_fill(~inside, -torch.inf)
        best, first = [], 0
        for count in anchors.counts:
            best.append(scores[:, first : first + count].topk(min(per_level, count), dim=1).indices + first)
            first += count
        levels = torch.cat([torch.full_like(top[0], level) for level, top in enumerate(best)])
        top = torch.cat(best, dim=1)  # [B, K]
        moves = deltas.gather(1, top[..., None].expand(-1, -1, 4))
        moved = self.anchor_coder.decode_single(moves.flatten(0, 1), anchors.boxes[top].flatten(0, 1))
        kept = []
        for boxes, score, size in zip(moved.view_as(moves), scores.gather(1, top), sizes.tolist(), strict=True):
            boxes = clip_boxes_to_image(boxes, size)
            real = remove_small_boxes(boxes, 1e-3)
            real = real[score[real].isfinite()]
            left = real[batched_nms(boxes[real], score[real], levels[real], PROPOSAL_NMS)]
            kept.append(boxes[left[: self.proposals[2]]])
        return kept

    def _proposal_losses(
        self,
        objectness: Tensor,
        deltas: Tensor,
        anchors: Anchors,
        inside: Tensor,
        truths: Sequence[Tensor],
        keys: Tensor,
    ) -> dict[str, Tensor]:
        """Binary cross entropy and box distance of the anchors drawn of each image."""
        scores, kinds, ways, true_ways = [], [], [], []
        for image, boxes in enumerate(truths):
            at = torch.where(inside[image])[0]
            kind, index = match(boxes, anchors.boxes[at], BACKGROUND, OBJECT, each=True)
            drawn = balanced(
                kind, hash64(keys[image], _DRAW_ANCHOR, anchors.codes[at]), ANCHORS_DRAWN, ANCHORS_POSITIVE
            )
            scores.append(objectness[image, at[drawn]])
            kinds.append(kind[drawn])
            positive = drawn[kind[drawn] > 0]
            ways.append(deltas[image, at[positive]])
            true_ways.append(self.anchor_coder.encode_single(boxes[index[positive]], anchors.boxes[at[positive]]))
        count = ANCHORS_DRAWN * len(truths)
        wanted = torch.cat(kinds).to(objectness.dtype)
        return {
            "rpn_objectness": F.binary_cross_entropy_with_logits(torch.cat(scores), wanted, reduction="sum") / count,
            "rpn_box": self._distance(torch.cat(ways), torch.cat(true_ways)) / count,
        }

    def _draw(self, proposed: Tensor, boxes: Tensor, labels: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of an image's proposals and true boxes those to learn from, their classes and the ways to the true boxes."""
        candidates = torch.cat([proposed, boxes])
        kinds, index = match(boxes, candidates, REGION, REGION)
        priority = hash64(key, _DRAW_REGION, torch.arange(len(candidates), device=candidates.device))
        drawn = balanced(kinds, priority, self.num_regions, REGIONS_POSITIVE)
        if not len(boxes):
            return candidates[drawn], kinds[drawn], torch.zeros_like(candidates[drawn])
        index = index[drawn]
        ways = self.region_coder.encode_single(boxes[index], candidates[drawn])
        return candidates[drawn], labels[index] * kinds[drawn], ways

    def _answer(self, levels: Sequence[Tensor], regions: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = self.predictor(self.head(self._pool(levels, regions)))
        return logits.float(), deltas.float()

    def _pool(self, levels: Sequence[Tensor], regions: Tensor) -> Tensor:
        """The features [R, width, 7, 7] of the regions, each from the level that suits its size (FPN's rule)."""
        edges = ((regions[:, 3] - regions[:, 1]) * (regions[:, 4] - regions[:, 2])).sqrt()
        wanted = 4 + torch.log2(edges / 224 + 1e-8)  # a region of 224 px comes from the level of stride 2 ** 4
        chosen = (wanted.floor() - math.log2(self.strides[0])).clamp(0, 3)
        maps = [x.float() for x in levels[:4]]
        regions = regions.to(maps[0].dtype)
        pooled = maps[0].new_zeros((len(regions), maps[0].shape[1], POOLED, POOLED))
        for level, x in enumerate(maps):
            at = torch.where(chosen == level)[0]
            scale = 1 / self.strides[level]
            pooled[at] = roi_align(x, regions[at], POOLED, scale, sampling_ratio=0, aligned=True)
        return pooled

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        return F.smooth_l1_loss(a, b, beta=self.box_beta, reduction="sum")

    def _found(self, regions: Tensor, chances: Tensor, deltas: Tensor, size: list[int]) -> Detections:
        """The detections of one image from its regions [P, 4], their class probabilities [P, C + 1] and deltas."""
        boxes = self.region_coder.decode_single(deltas, regions).unflatten(1, (-1, 4))
        boxes = clip_boxes_to_image(boxes, size)[:, 1:].flatten(0, 1)
        scores = chances[:, 1:].flatten()
        labels = torch.arange(1, chances.shape[1], device=scores.device).repeat(len(regions))
        likely = torch.where(scores > SCORE)[0]
        likely = likely[remove_small_boxes(boxes[likely], 1e-2)]
        best = likely[batched_nms(boxes[likely], scores[likely], labels[likely], NMS)[:DETECTIONS]]
        return Detections(boxes[best], scores[best], labels[best])


def _with_image(boxes: Sequence[Tensor]) -> Tensor:
    """Boxes [N_i, 4] of each image as one tensor [N, 5], the image's place in the batch first."""
    return torch.cat([F.pad(part, (1, 0), value=float(image)) for image, part in enumerate(boxes)])

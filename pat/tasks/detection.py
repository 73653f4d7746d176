"""Detection of objects: Faster R-CNN on any strided timm backbone, the score is COCO's box AP."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pat.config import Data, Recipe
from pat.data import BoxSplit, BoxTargets
from pat.dense.ap import Truths, box_ap, check_evaluator
from pat.dense.detector import POOLED, Detections, Detector, Samples
from pat.dense.fpn import TRACED
from pat.errors import ConfigError
from pat.models import normalisation
from pat.taps import StageTaps, Tapped
from pat.tasks.base import NO_SCORE, Score, Seen, Shape, register_task
from pat.tasks.dense import EVAL_BATCH, DenseTask
from pat.views import Views, dense_eval


class Answers(Protocol):
    def losses(self, samples: Samples, logits: Tensor, deltas: Tensor) -> dict[str, Tensor]:
        """`Detector.losses`."""


class Judged(NamedTuple):
    """The detector that answered, the regions that it answered for, and their box deltas [R, 4 (C + 1)]."""

    detector: Answers
    samples: Samples
    deltas: Tensor


@register_task
class Detection(DenseTask):
    """Targets are `BoxTargets`, samples the regions that the student proposes, maps the five levels of the pyramid.

    A teacher answers for the student's regions; the head of the regions runs once in each model. The defaults are
    those of detectron2's R50-FPN (`pat.dense.detector`): `anchors` are edges in pixels, one a level, `regions` are
    drawn of each image, `proposals` kept of each level in training and in scoring, and of each image.
    """

    metric = "map"
    truths = "boxes"

    def __init__(
        self,
        data: Data,
        num_classes: int,
        labels: Tensor | None = None,
        *,
        width: int = 256,
        longest: int = 1333,
        freeze_norm: bool = True,
        valid_maps: bool = False,
        anchors: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0),
        proposals: tuple[int, int, int] = (2000, 1000, 1000),
        regions: int = 512,
        hidden: int = 1024,
    ) -> None:
        super().__init__(
            data,
            num_classes,
            labels,
            width=width,
            longest=longest,
            freeze_norm=freeze_norm,
            valid_maps=valid_maps,
        )
        for option, value, length in (("anchors", anchors, 5), ("proposals", proposals, 3)):
            if not isinstance(value, tuple) or len(value) != length or min(value) <= 0:
                raise ConfigError(f"task.{option} = {value!r}: {length} positive numbers")
        if min(regions, hidden) < 1:
            raise ConfigError(f"task.regions = {regions}, hidden = {hidden}: positive numbers")
        self.anchors, self.proposals, self.regions, self.hidden = anchors, proposals, regions, hidden

    def check(self, name: str, recipe: Recipe, initial: str) -> None:
        super().check(name, recipe, initial)
        check_evaluator()

    def build(self, name: str, num_classes: int, initial: str = "", initial_file: Path | None = None) -> Detector:
        return Detector(
            self.backbone(name, initial, initial_file),
            num_classes,
            TRACED,
            width=self.width,
            anchors=self.anchors,
            proposals=self.proposals,
            regions=self.regions,
            hidden=self.hidden,
        )

    def levels(self, taps: StageTaps) -> list[Shape]:
        """A fifth level has half the last stage's grid."""
        stages = super().levels(taps)
        width, height, breadth = stages[-1]
        return [*stages, (width, math.ceil(height / 2), math.ceil(breadth / 2))]

    def see(
        self,
        model: Any,
        images: Tensor,
        targets: BoxTargets | None = None,
        like: Seen | None = None,
        tapped: Tapped | None = None,
    ) -> Seen:
        levels = model.pyramid((tapped or model.taps(images)).maps)
        if like is None:
            assert targets is not None
            samples, sizes = model.sample(levels, targets), targets.sizes
        else:
            assert like.sizes is not None
            samples, sizes = like.samples.samples, like.sizes
        logits, deltas = model.regions(levels, samples)
        valid = self.valid(sizes, images, levels)
        return Seen(logits, levels, Judged(model, samples, deltas), sizes, samples.share, valid)

    def losses(self, seen: Seen, targets: BoxTargets) -> dict[str, Tensor]:
        detector, samples, deltas = seen.samples
        losses: dict[str, Tensor] = detector.losses(samples, seen.logits, deltas)
        return losses

    def classes(self, seen: Seen, targets: BoxTargets) -> Tensor:
        """0 is the background."""
        labels: Tensor = seen.samples.samples.labels
        return labels

    def blank(self, images: int, device: torch.device) -> Views:
        """One object an image."""
        indices, pixels, sizes = self.whole(images, device)
        height, width = self.canvas
        boxes = torch.tensor([[0.0, 0.0, width / 2, height / 2]], device=device).repeat(images, 1)
        labels, keys = torch.ones_like(indices), torch.zeros_like(indices)
        return Views(indices, pixels, BoxTargets(boxes, labels, (1,) * images, sizes, keys))

    def outline(self, model: Any, images: Tensor, training: bool, tapped: Tapped | None = None) -> Seen:
        levels = model.pyramid((tapped or model.taps(images)).maps)
        proposals = torch.stack([answer.sum() for answers in model.rpn(list(levels)) for answer in answers]).sum()
        regions = images.new_zeros(len(images) * (self.regions if training else self.proposals[2]), 5)
        logits, deltas = model.predictor(model.head(images.new_zeros(len(regions), self.width, POOLED, POOLED)))
        samples = Samples(regions, regions[:, 0].long(), regions[:, 1:], {"proposals": proposals})
        return Seen(logits, levels, Judged(_Outlined(), samples, deltas))

    @torch.no_grad()
    def score(self, model: nn.Module, split: BoxSplit, rank: int = 0, world: int = 1) -> Score:
        """Box AP in the pixels of the files. There is no loss: proposals are measured in training alone."""
        return self.scores([model], split, rank, world)[0]

    @torch.no_grad()
    def scores(self, models: Sequence[nn.Module], split: BoxSplit, rank: int = 0, world: int = 1) -> list[Score]:
        if len(split) == 0:
            return [NO_SCORE] * len(models)
        modes = [model.training for model in models]
        for model in models:
            model.eval()
        answers: list[dict[int, Detections]] = [{} for _ in models]
        for indices, images, sizes in dense_eval(
            split, self.data.image_size, self.longest, normalisation(models[0]), EVAL_BATCH, rank, world
        ):
            originals, places, shown = split.sizes[indices.cpu()], indices.tolist(), sizes.cpu()
            for found, model in zip(answers, models, strict=True):
                for place, size, original, one in zip(places, shown, originals, model(images, sizes), strict=True):
                    found[place] = _in_file(one, size, original)
        for model, mode in zip(models, modes, strict=True):
            model.train(mode)
        return [_scored(split, _gathered(found, world)) for found in answers]


def _scored(split: BoxSplit, found: dict[int, Detections]) -> Score:
    truths, boxes = split.boxes, [found[place] for place in range(len(split))]
    details = box_ap(
        Truths(truths.boxes, truths.labels, truths.crowd, truths.area, truths.counts.tolist(), split.sizes), boxes
    )
    return Score(math.nan, details.pop("ap", math.nan), None, details)


class _Outlined:
    """In the place of a detector whose regions have no content."""

    def losses(self, samples: Samples, logits: Tensor, deltas: Tensor) -> dict[str, Tensor]:
        return {**samples.proposal, "regions": logits.sum() + deltas.sum()}


def _in_file(found: Detections, size: Tensor, original: Tensor) -> Detections:
    """Detections on a canvas where the image has `size` (height, width), in pixels of the image of `original` size."""
    scale = (original / size).flip(0).repeat(2).float()
    return Detections(found.boxes.float().cpu() * scale, found.scores.float().cpu(), found.labels.cpu())


def _gathered(found: dict[int, Detections], world: int) -> dict[int, Detections]:
    """Those of all workers."""
    if world == 1:
        return found
    parts: list[Any] = [None] * world
    dist.all_gather_object(parts, found)
    return {place: one for part in parts for place, one in part.items()}

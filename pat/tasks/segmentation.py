"""Semantic segmentation: a class for every pixel, the score is the mean intersection over union."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from pat.config import Data
from pat.data import VOID, MaskSplit, MaskTargets
from pat.dense.fpn import TRACED
from pat.dense.miou import confusion, mean_iou, pixel_accuracy
from pat.dense.segmenter import STRIDE, Segmenter
from pat.errors import ConfigError
from pat.gather import share_of
from pat.models import normalisation
from pat.taps import Tapped
from pat.tasks.base import NO_SCORE, Score, Seen, register_task
from pat.tasks.dense import EVAL_BATCH, MULTIPLE, DenseTask
from pat.views import Views, mask_eval


class Cells(NamedTuple):
    """Logits of every cell [B, C, h, w], at a quarter of the canvas, and which cells are samples: bool [B, h, w]."""

    logits: Tensor
    chosen: Tensor


@register_task
class Segmentation(DenseTask):
    """Targets are `MaskTargets`, samples the cells of the logits whose middle has a class, maps the four levels.

    The loss is the cross entropy of every pixel with a class, of logits enlarged to the canvas. `crop`: the side of
    the square, in pixels, that training cuts out of each view (0: none). Scored are whole images, in the pixels of
    their masks.
    """

    metric = "miou"
    truths = "masks"

    def __init__(
        self,
        data: Data,
        num_classes: int,
        labels: Tensor | None = None,
        *,
        width: int = 64,
        longest: int = 0,
        freeze_norm: bool = False,
        valid_maps: bool = False,
        crop: int = 0,
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
        if crop < 0 or crop % MULTIPLE:
            raise ConfigError(f"task.crop = {crop}: 0, or a multiple of {MULTIPLE} pixels")
        self.crop = crop
        if crop:
            self.canvas = (crop, crop)

    def build(self, name: str, num_classes: int, initial: str = "", initial_file: Path | None = None) -> Segmenter:
        return Segmenter(self.backbone(name, initial, initial_file), num_classes, TRACED, width=self.width)

    def see(
        self,
        model: Any,
        images: Tensor,
        targets: MaskTargets | None = None,
        like: Seen | None = None,
        tapped: Tapped | None = None,
    ) -> Seen:
        levels = model.pyramid((tapped or model.taps(images)).maps)
        logits = model.head(levels, (images.shape[2], images.shape[3]))
        if like is None:
            assert targets is not None
            chosen, sizes = _with_class(_middles(targets)), targets.sizes
            share = share_of(chosen.sum())
        else:
            assert like.sizes is not None
            chosen, sizes, share = like.samples.chosen, like.sizes, like.share
        rows = logits.permute(0, 2, 3, 1)[chosen]
        return Seen(rows, levels, Cells(logits, chosen), sizes, share, self.valid(sizes, images, levels))

    def losses(self, seen: Seen, targets: MaskTargets) -> dict[str, Tensor]:
        total = _cross_entropy(seen.samples.logits, targets.masks)
        count = (targets.masks != VOID).sum()
        share = share_of(count)
        mean = total / count.clamp(min=1)
        return {"pixel": mean if share is None else mean * share}

    def classes(self, seen: Seen, targets: MaskTargets) -> Tensor:
        return _middles(targets)[seen.samples.chosen]

    def blank(self, images: int, device: torch.device) -> Views:
        indices, pixels, sizes = self.whole(images, device)
        masks = torch.zeros(images, *self.canvas, dtype=torch.int64, device=device)
        return Views(indices, pixels, MaskTargets(masks, sizes))

    def outline(self, model: Any, images: Tensor, training: bool, tapped: Tapped | None = None) -> Seen:
        levels = model.pyramid((tapped or model.taps(images)).maps)
        logits = model.head(levels, (images.shape[2], images.shape[3]))
        every = logits.permute(0, 2, 3, 1).flatten(0, 2)
        return Seen(every, levels, Cells(logits, logits[:, 0] == 0))

    @torch.no_grad()
    def score(self, model: nn.Module, split: MaskSplit, rank: int = 0, world: int = 1) -> Score:
        """Of all pixels of the set together: mean cross entropy, mean IoU, and the share that got their class."""
        return self.scores([model], split, rank, world)[0]

    @torch.no_grad()
    def scores(self, models: Sequence[nn.Module], split: MaskSplit, rank: int = 0, world: int = 1) -> list[Score]:
        if len(split) == 0:
            return [NO_SCORE] * len(models)
        modes = [model.training for model in models]
        for model in models:
            model.eval()
        classes = self.num_classes
        matrices = torch.zeros(len(models), classes, classes, dtype=torch.int64, device=split.device)
        totals = torch.zeros(len(models), dtype=torch.float64, device=split.device)
        statistics = normalisation(models[0])
        for (_, images, sizes), masks in mask_eval(
            split, self.data.image_size, self.longest, statistics, EVAL_BATCH, rank, world
        ):
            for matrix, total, model in zip(matrices, totals, models, strict=True):
                enlarged = _enlarged(model(images), (images.shape[2], images.shape[3]))
                for logits, (height, width), mask in zip(enlarged, sizes.tolist(), masks, strict=True):
                    own = logits[None, :, :height, :width]
                    in_file = F.interpolate(own, mask.shape, mode="bilinear", align_corners=False)
                    matrix += confusion(in_file[0].argmax(0), mask, classes, VOID)
                    total += F.cross_entropy(in_file, mask[None].long(), ignore_index=VOID, reduction="sum")
        if world > 1:
            dist.all_reduce(matrices)
            dist.all_reduce(totals)
        for model, mode in zip(models, modes, strict=True):
            model.train(mode)
        return [
            Score((total / matrix.sum()).item(), mean_iou(matrix), None, {"pixel_accuracy": pixel_accuracy(matrix)})
            for matrix, total in zip(matrices, totals, strict=True)
        ]


def _middles(targets: MaskTargets) -> Tensor:
    """The class of the pixel in the middle of each cell: int64 [B, h, w]."""
    return targets.masks[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]


def _with_class(middles: Tensor) -> Tensor:
    """Which cells have one; all of them where none has, so that a mean over samples is never one over nothing."""
    has = middles != VOID
    return has | ~has.any()


def _enlarged(logits: Tensor, canvas: tuple[int, int]) -> Tensor:
    return F.interpolate(logits, canvas, mode="bilinear", align_corners=False)


def _cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """The sum over all pixels with a class."""
    enlarged = _enlarged(logits, (masks.shape[1], masks.shape[2]))
    return F.cross_entropy(enlarged, masks, ignore_index=VOID, reduction="sum")

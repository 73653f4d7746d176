"""Average precision of boxes as COCO defines it, by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pat.dense.detector import Detections
from pat.errors import ConfigError

NAMES = {"AP_all": "ap", "AP_50": "ap50", "AP_75": "ap75", "AP_small": "aps", "AP_medium": "apm", "AP_large": "apl"}


@dataclass(frozen=True)
class Truths:
    """The objects of a set of images, one image after the other: `boxes` [M, 4] (x0, y0, x1, y1 in pixels of the
    original), `labels` int64 [M], `crowd` bool [M], `area` [M] in pixels (of the object, not of its box), `counts` of
    each image, `sizes` int64 [N, 2] (heights, widths)."""

    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    area: Tensor
    counts: Sequence[int]
    sizes: Tensor


def box_ap(truths: Truths, found: Sequence[Detections]) -> dict[str, float]:
    """Percent, of detections in pixels of the originals: `ap` (mean over overlaps of 0.50 to 0.95), `ap50`, `ap75`, and
    `aps`, `apm`, `apl` of small (below 32 x 32), medium and large (above 96 x 96) objects, those that the set has.

    Raises ConfigError where faster-coco-eval is not installed.
    """
    check_evaluator()
    from faster_coco_eval import COCO, COCOeval_faster

    ground = COCO(as_coco(truths))
    evaluation = COCOeval_faster(ground, ground.loadRes(as_results(found)), iouType="bbox")
    evaluation.run()
    stats = evaluation.stats_as_dict
    return {name: 100 * stats[key] for key, name in NAMES.items() if stats[key] >= 0}


def check_evaluator() -> None:
    """Raises ConfigError where faster-coco-eval is not installed."""
    try:
        import faster_coco_eval  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "detection is scored with faster-coco-eval, which is not installed: pip install 'faster-coco-eval>=1.8'"
        ) from error


def as_coco(truths: Truths) -> dict[str, Any]:
    """The content of COCO's annotation file; images are numbered from 0, labels are the categories' numbers."""
    images = [{"id": i, "height": height, "width": width} for i, (height, width) in enumerate(truths.sizes.tolist())]
    places = [image for image, count in enumerate(truths.counts) for _ in range(count)]
    columns = zip(
        places,
        truths.labels.tolist(),
        _with_edges(truths.boxes),
        truths.area.tolist(),
        truths.crowd.tolist(),
        strict=True,
    )
    objects = [
        {"id": i, "image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": int(crowd)}
        for i, (image, label, box, area, crowd) in enumerate(columns, start=1)
    ]
    categories = [{"id": label, "name": str(label)} for label in sorted(set(truths.labels.tolist()))]
    return {"info": {}, "images": images, "annotations": objects, "categories": categories}


def as_results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    """The content of COCO's result file, for images numbered as in `as_coco`."""
    return [
        {"image_id": image, "category_id": label, "bbox": box, "score": score}
        for image, one in enumerate(found)
        for box, score, label in zip(_with_edges(one.boxes), one.scores.tolist(), one.labels.tolist(), strict=True)
    ]


def _with_edges(boxes: Tensor) -> list[list[float]]:
    """Boxes (x0, y0, x1, y1) as COCO writes them: x0, y0, width, height."""
    x0, y0, x1, y1 = boxes.double().reshape(-1, 4).unbind(1)
    return [list(box) for box in zip(x0.tolist(), y0.tolist(), (x1 - x0).tolist(), (y1 - y0).tolist(), strict=True)]

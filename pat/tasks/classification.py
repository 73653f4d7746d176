"""Classification of images: the model is timm's own, the score is top-1 accuracy."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from timm.data.constants import DEFAULT_CROP_PCT
from timm.models._hub import save_config_for_hf
from torch import Tensor, nn

from pat.config import ConfigError, Data, Recipe
from pat.data import Labelled
from pat.losses import cross_entropy
from pat.models import normalisation
from pat.tasks.base import NO_SCORE, Score, Seen, Task, register_task
from pat.views import Views, middles, train_views

EVAL_BATCH = 256


@register_task
class Classification(Task):
    """Targets are distributions [B, C] or classes int64 [B], samples are images, maps are those of the stages."""

    metric = "top1"
    truths = "labels"

    def check_model(self, role: str, model: nn.Module) -> None:
        if (classes := getattr(model, "num_classes", self.num_classes)) != self.num_classes:
            raise ConfigError(f"{role}: it tells {classes} classes apart, the task has {self.num_classes}")

    def check_batch(self, images: Tensor, targets: Tensor) -> None:
        super().check_batch(images, targets)
        if tuple(images.shape[2:]) != self.canvas:
            sizes = " and ".join(f"{height} x {width}" for height, width in (images.shape[2:], self.canvas))
            raise ConfigError(f"images and the task's size in pixels: {sizes}; they must be equal")
        if targets.ndim == 2 and targets.shape[1] != self.num_classes:
            raise ConfigError(f"targets {list(targets.shape)}: the task has {self.num_classes} classes")

    def losses(self, seen: Seen, targets: Tensor) -> dict[str, Tensor]:
        return {"ce": cross_entropy(seen.logits, targets)}

    def classes(self, seen: Seen, targets: Tensor) -> Tensor:
        """The class of the larger share, where images are mixed; integer labels [B] as they are."""
        return targets if targets.ndim == 1 else targets.argmax(1)

    def views(
        self,
        split: Labelled,
        batches: Tensor,
        recipe: Recipe,
        student: nn.Module,
        seed: int,
        epoch: int,
        rank: int = 0,
        world: int = 1,
        first: int = 0,
    ) -> Iterator[Views]:
        size, statistics = self.data.image_size, normalisation(student)
        return train_views(split, batches, recipe, size, self.num_classes, statistics, seed, epoch, rank, world, first)

    def blank(self, images: int, device: torch.device) -> Views:
        targets = torch.full((images, self.num_classes), 1 / self.num_classes, device=device)
        return Views(torch.arange(images, device=device), torch.zeros(images, 3, *self.canvas, device=device), targets)

    def score(self, model: nn.Module, split: Labelled, rank: int = 0, world: int = 1) -> Score:
        return evaluate(model, split, self.data, EVAL_BATCH, rank, world)

    def scores(self, models: Sequence[nn.Module], split: Labelled, rank: int = 0, world: int = 1) -> list[Score]:
        return evaluate_all(models, split, self.data, EVAL_BATCH, rank, world)

    def chance(self, split: Labelled) -> float:
        """That of the largest class."""
        return 100 * split.labels.bincount().max().item() / len(split) if len(split) else math.nan

    def described(self, model: nn.Module, classes: Sequence[str] = ()) -> dict[str, Any]:
        crop_pct, cubic = _middle(model, self.data)
        mean, std = normalisation(model)
        seen = {"mean": mean, "std": std, "crop_pct": crop_pct, "interpolation": "bicubic" if cubic else "bilinear"}
        seen |= {"input_size": (3, *self.canvas), "crop_mode": "center"}
        labels = {"label_names": list(classes)} if classes else {}
        with tempfile.NamedTemporaryFile("r") as file:
            try:
                save_config_for_hf(model, file.name, model_config=labels, data_config=seen)
            except (AttributeError, KeyError, TypeError, ValueError):  # one of a person's own, without timm's record
                return {}
            found: dict[str, Any] = json.load(file)
        return found


def task_for(student: nn.Module, image_size: int | None = None) -> Classification:
    """The task of a classifier in somebody's own loop: its classes, on images of `image_size` pixels, by default those
    that timm made the student for.

    Raises ConfigError for a model that does not say how many classes it tells apart.
    """
    classes = getattr(student, "num_classes", None)
    if not isinstance(classes, int) or classes < 1:
        raise ConfigError(f"student: num_classes = {classes!r}; a number is needed, or a task (create_task)")
    if image_size is None:
        image_size = getattr(student, "pretrained_cfg", {}).get("input_size", (0,))[-1] or None
        grid = getattr(getattr(student, "patch_embed", None), "img_size", None)
        image_size = grid[0] if grid else image_size
    if image_size is None:
        raise ConfigError("image_size: how many pixels? The student does not say")
    return Classification(Data("own", image_size), classes)


def evaluate(model: nn.Module, split: Labelled, data: Data, batch_size: int, rank: int = 0, world: int = 1) -> Score:
    """Mean cross entropy, top-1 and correctness of each image, in eval mode, on the images that `data` describes.
    Workers take every world-th batch; all get the whole result.

    Where `data.crop_pct` is 0, the share of the middle and the kernel are those of the model's own record with timm
    (crop mode "center"). Raises ConfigError for an image file that cannot be read.
    """
    return evaluate_all([model], split, data, batch_size, rank, world)[0]


@torch.no_grad()
def evaluate_all(
    models: Sequence[nn.Module], split: Labelled, data: Data, batch_size: int, rank: int = 0, world: int = 1
) -> list[Score]:
    """The same of models that one record with timm describes, as a student and its average: the images are made once
    for all."""
    if len(split) == 0:
        return [NO_SCORE] * len(models)
    modes = [model.training for model in models]
    for model in models:
        model.eval()
    device = split.device
    correct, losses = (torch.zeros(len(models), len(split), device=device) for _ in range(2))
    batches = torch.arange(len(split), device=device).split(batch_size)[rank::world]
    for indices, images in scored_images(models[0], split, data, batches):
        for number, model in enumerate(models):
            logits = model(images).float()
            losses[number, indices] = F.cross_entropy(logits, split.labels[indices], reduction="none")
            correct[number, indices] = (logits.argmax(1) == split.labels[indices]).float()
    if world > 1:
        dist.all_reduce(correct)
        dist.all_reduce(losses)
    for model, mode in zip(models, modes, strict=True):
        model.train(mode)
    return [
        Score(loss.double().mean().item(), 100 * right.double().mean().item(), right.bool().cpu())
        for loss, right in zip(losses, correct, strict=True)
    ]


def scored_images(
    model: nn.Module, split: Labelled, data: Data, batches: Sequence[Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each of the `batches` (indices [B]) these and the images [B, 3, S, S] that `model` is scored on."""
    mean, std = (torch.tensor(values, device=split.device)[:, None, None] for values in normalisation(model))
    crop_pct, cubic = _middle(model, data)
    shown = middles(split, batches, data.image_size, crop_pct, cubic)
    for indices, images in zip(batches, shown, strict=True):
        yield indices, (images - mean) / std


def _middle(model: nn.Module, data: Data) -> tuple[float, bool]:
    """The share of the middle square that is scored, and whether it is resized bicubically (else bilinearly)."""
    if data.crop_pct:
        return data.crop_pct, True
    record = getattr(model, "pretrained_cfg", {})
    return record.get("crop_pct") or DEFAULT_CROP_PCT, record.get("interpolation") != "bilinear"

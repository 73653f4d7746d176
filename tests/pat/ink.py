"""A task of one's own: how much ink there is on an image, in a module that is no part of the package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pat.models import normalisation
from pat.tasks import Score, Seen, Task, register_task
from pat.views import Views, eval_batch, train_views


@register_task
class Ink(Task):
    """The mean level of the pixels, in shares of white; `scale` is a factor on the squared error."""

    metric = "explained"
    truths = ""

    def __init__(self, data: Any, num_classes: int, labels: Tensor | None = None, *, scale: float = 1.0) -> None:
        super().__init__(data, 1, labels)
        self.scale = scale

    def losses(self, seen: Seen, targets: Tensor) -> dict[str, Tensor]:
        return {"squares": self.scale * (seen.logits[:, 0] - targets).square().mean()}

    def classes(self, seen: Seen, targets: Tensor) -> Tensor:
        return torch.zeros(len(targets), dtype=torch.int64, device=targets.device)

    def views(self, split: Any, batches: Tensor, recipe: Any, student: nn.Module, *place: int) -> Iterator[Views]:
        size, statistics = self.data.image_size, normalisation(student)
        for views in train_views(split, batches, recipe, size, 10, statistics, *place):
            yield views._replace(targets=_ink(student, views.images))

    def blank(self, images: int, device: torch.device) -> Views:
        pixels = torch.zeros(images, 3, *self.canvas, device=device)
        return Views(torch.arange(images, device=device), pixels, torch.zeros(images, device=device))

    @torch.no_grad()
    def score(self, model: nn.Module, split: Any, rank: int = 0, world: int = 1) -> Score:
        pixels = eval_batch(next(split.stream([torch.arange(len(split))])), self.data.image_size)
        mean, std = (torch.tensor(values)[:, None, None] for values in normalisation(model))
        truth, was_training = pixels.mean((1, 2, 3)), model.training
        found = model.eval()((pixels - mean) / std)[:, 0]
        model.train(was_training)
        error = (found - truth).square().mean()
        return Score(error.item(), 100 * (1 - error / truth.var(correction=0)).item())


def _ink(model: nn.Module, images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in normalisation(model))
    return (images * std + mean).mean((1, 2, 3))

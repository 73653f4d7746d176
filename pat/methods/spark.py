"""Masked images without a teacher (SparK, Tian et al. 2023, arXiv 2301.03580): what the pre-training alone brings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pat.decoder import Decoder
from pat.errors import ConfigError, check_choice
from pat.islands import check_sparse
from pat.losses import KINDS, POSITIONS, generation_loss, normalised_patches
from pat.methods.base import Losses, Method, register_method
from pat.sparse import Sparse, Visible
from pat.taps import StageTaps
from pat.tasks import Score, Seen


@register_method
class SparK(Method):
    """L = distance of what the decoder makes of the visible cells from the target.

    The student is a CNN that sees visible cells alone (`pat.sparse`); the share `ratio` of them is hidden. The decoder
    is a UNet (`pat.decoder`) of `width` channels at its narrow end. The target here: the pixels of each patch of
    `task.stride`, normalised. `loss` and `positions` as in `losses.generation_loss`; the defaults are SparK's. The
    decoder stays raw where the student is averaged. Raises ConfigError for a student that cannot be sparse.
    """

    tasks = ("generation",)
    teacherless = True
    extra_passes = True
    couples_samples = False
    recomputable = False

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None,
        task: Any,
        *,
        ratio: float = 0.6,
        loss: str = "mse",
        positions: str = "masked",
        width: int = 256,
    ) -> None:
        super().__init__(student, teacher, task)
        self.visible = task.visible(ratio)
        check_choice("loss", loss, KINDS)
        check_choice("positions", positions, POSITIONS)
        if width < 1:
            raise ConfigError(f"width = {width}: a positive number of channels")
        if not next(student.parameters()).is_meta:
            check_sparse(student.pretrained_cfg["architecture"])  # type: ignore[index]
        self.loss, self.positions = loss, positions
        self.sparse = self.averaged = Sparse(task.taps(student))
        self.decoder = Decoder(self.sparse.taps.stages, task.stride, width, self.channels(task))

    def channels(self, task: Any) -> int:
        """Of the target."""
        return 3 * task.stride**2

    def target(self, images: Tensor) -> Tensor:
        """What is to be generated of whole images: [B, C, h, w]."""
        return normalised_patches(images, self.task.stride)  # type: ignore[attr-defined]

    def forward(self, images: Tensor, targets: Tensor, indices: Tensor | None = None) -> Losses:
        found, target, hidden, logits = self.generate(self.sparse, images, targets)
        part = generation_loss(found, target, hidden, self.loss, self.positions)
        return self.result(Seen(logits), targets, generation=(1.0, part))

    def generate(self, sparse: Sparse, images: Tensor, order: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What is generated and its target [B, C, h, w], which positions are hidden, and logits without a meaning."""
        visible = Visible(order[:, : self.visible].sort(1).values, self.task.grid)  # type: ignore[attr-defined]
        seen = sparse(images, visible)
        found = self.decoder(seen.maps, visible)
        with torch.no_grad():
            target = self.target(images)
        return found, target, visible.hidden((found.shape[2], found.shape[3])), seen.logits

    def score(self, model: nn.Module, split: Any, rank: int = 0, world: int = 1) -> Score:
        """The explained share of the target, with the decoder as it is."""
        task: Any = self.task
        if model is not self.student and model is not self.averaged.taps.model:
            self.averaged = Sparse(StageTaps(model, task.canvas))
        sparse = self.sparse if model is self.student else self.averaged

        def guess(images: Tensor, order: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            found, target, hidden, _ = self.generate(sparse, images, order)
            return found, target, hidden, generation_loss(found, target, hidden, self.loss, self.positions)

        modes = [(module, module.training) for module in (model, self.decoder)]
        for module, _ in modes:
            module.eval()
        score: Score = task.explained(guess, model, split, rank, world)
        for module, mode in modes:
            module.train(mode)
        return score

"""Accuracy of a model on a split, shared by all workers, and a run's numbers under every selection rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from timm.data.constants import DEFAULT_CROP_PCT
from torch import Tensor, nn

from pat.config import Data
from pat.data import Source
from pat.models import normalisation
from pat.views import eval_batch

RULES = ("last", "best_val", "best_test")
WEIGHTS = ("raw", "ema")


@dataclass(frozen=True)
class Score:
    """Mean cross entropy, top-1 in percent and correctness of each image (bool [N], on the CPU)."""

    loss: float
    top1: float
    correct: Tensor


NO_SCORE = Score(math.nan, math.nan, torch.zeros(0, dtype=torch.bool))


@torch.no_grad()
def evaluate(model: nn.Module, split: Source, data: Data, batch_size: int, rank: int = 0, world: int = 1) -> Score:
    """Scores `model` in eval mode on the images that `data` describes. Workers take every world-th batch; all get the
    whole result.

    Where `data.crop_pct` is 0, the share of the middle and the kernel are those of the model's own record with timm
    (crop mode "center"). Raises ConfigError for an image file that cannot be read.
    """
    if len(split) == 0:
        return NO_SCORE
    was_training = model.training
    model.eval()
    device = split.labels.device
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in normalisation(model))
    crop_pct, cubic = _middle(model, data)
    correct = torch.zeros(len(split), device=device)
    losses = torch.zeros(len(split), device=device)
    batches = torch.arange(len(split), device=device).split(batch_size)[rank::world]
    for indices, pixels in zip(batches, split.stream(batches), strict=True):
        images = (eval_batch(pixels, data.image_size, crop_pct, cubic) - mean) / std
        logits = model(images).float()
        losses[indices] = F.cross_entropy(logits, split.labels[indices], reduction="none")
        correct[indices] = (logits.argmax(1) == split.labels[indices]).float()
    if world > 1:
        dist.all_reduce(correct)
        dist.all_reduce(losses)
    model.train(was_training)
    top1 = 100 * correct.double().mean().item()
    return Score(losses.double().mean().item(), top1, correct.bool().cpu())


def _middle(model: nn.Module, data: Data) -> tuple[float, bool]:
    """The share of the middle square that is scored, and whether it is resized bicubically (else bilinearly)."""
    if data.crop_pct:
        return data.crop_pct, True
    record = getattr(model, "pretrained_cfg", {})
    return record.get("crop_pct") or DEFAULT_CROP_PCT, record.get("interpolation") != "bilinear"


def results(history: list[dict[str, Any]]) -> dict[str, float]:
    """Top-1 on val and test under every rule, raw and EMA: `{split}_{rule}_{weights}`, nan where it does not exist.

    `best_test` is the rule of much of the literature; it reads the test set and decides nothing here.
    """
    found = {}
    for weights in WEIGHTS:
        for rule in RULES:
            row = chosen_epoch(history, rule, weights)
            for split in ("val", "test"):
                found[f"{split}_{rule}_{weights}"] = row[f"{split}_score_{weights}"] if row else math.nan
    return found


def chosen_epoch(history: list[dict[str, Any]], rule: str, weights: str) -> dict[str, Any] | None:
    """The row of `history` that a rule selects (the earliest of equals), None where the rule has no numbers."""
    key = {"last": "epoch", "best_val": f"val_score_{weights}", "best_test": f"test_score_{weights}"}[rule]
    rows = [row for row in history if not math.isnan(row[key]) and not math.isnan(row[f"test_score_{weights}"])]
    return max(rows, key=lambda row: row[key], default=None)

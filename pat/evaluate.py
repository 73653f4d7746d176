"""Accuracy of a model on a split, shared by all workers, and a run's numbers under every selection rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from pat.data import Split
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
def evaluate(model: nn.Module, split: Split, image_size: int, batch_size: int, rank: int = 0, world: int = 1) -> Score:
    """Scores `model` in eval mode. Workers take every world-th batch; all get the whole result."""
    if len(split) == 0:
        return NO_SCORE
    was_training = model.training
    model.eval()
    device = split.labels.device
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in normalisation(model))
    correct = torch.zeros(len(split), device=device)
    losses = torch.zeros(len(split), device=device)
    for indices in torch.arange(len(split), device=device).split(batch_size)[rank::world]:
        images = (eval_batch(split.images[indices], image_size) - mean) / std
        logits = model(images).float()
        losses[indices] = F.cross_entropy(logits, split.labels[indices], reduction="none")
        correct[indices] = (logits.argmax(1) == split.labels[indices]).float()
    if world > 1:
        dist.all_reduce(correct)
        dist.all_reduce(losses)
    model.train(was_training)
    top1 = 100 * correct.double().mean().item()
    return Score(losses.double().mean().item(), top1, correct.bool().cpu())


def results(history: list[dict[str, Any]]) -> dict[str, float]:
    """Top-1 on val and test under every rule, raw and EMA: `{split}_{rule}_{weights}`, nan where it does not exist.

    `best_test` is the rule of much of the literature; it reads the test set and decides nothing here.
    """
    found = {}
    for weights in WEIGHTS:
        for rule in RULES:
            row = chosen_epoch(history, rule, weights)
            for split in ("val", "test"):
                found[f"{split}_{rule}_{weights}"] = row[f"{split}_top1_{weights}"] if row else math.nan
    return found


def chosen_epoch(history: list[dict[str, Any]], rule: str, weights: str) -> dict[str, Any] | None:
    """The row of `history` that a rule selects (the earliest of equals), None where the rule has no numbers."""
    key = {"last": "epoch", "best_val": f"val_top1_{weights}", "best_test": f"test_top1_{weights}"}[rule]
    rows = [row for row in history if not math.isnan(row[key]) and not math.isnan(row[f"test_top1_{weights}"])]
    return max(rows, key=lambda row: row[key], default=None)

"""What a classifier is like on images, by numbers that need no student: what may tell how good a teacher it is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pat.config import Data
from pat.data import Labelled
from pat.embedding import Embedding
from pat.tasks.classification import EVAL_BATCH, scored_images


@torch.no_grad()
def seen(model: nn.Module, split: Labelled, data: Data, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [N, C], pooled features [N, dim] (both float32) and labels [N] of `model`, which is in eval mode, on at
    most so many images of the split, spread evenly over it, as scoring shows them.

    Raises ConfigError for a model without a classifier that timm names."""
    embed = Embedding(model, data.image_size)
    count = len(split)
    indices = torch.arange(count, device=split.device)[:: max(1, -(-count // most))]
    logits, features = [], []
    for _, images in scored_images(model, split, data, indices.split(EVAL_BATCH)):
        out, pooled = embed(images)
        logits.append(out.float())
        features.append(pooled.float())
    return torch.cat(logits), torch.cat(features), split.labels[indices]


def entropy(logits: Tensor) -> float:
    """The mean entropy of the softmax of logits [N, C], in nats: 0 (certain) to log C."""
    logs = F.log_softmax(logits.double(), 1)
    return float(-(logs.exp() * logs).sum(1).mean())


def logit_ratio(logits: Tensor) -> float:
    """The largest raw logit over the second largest, R12: the median over the rows of logits [N, C], because where the
    second is near 0 a mean would be any number."""
    first, second = logits.double().topk(2, 1).values.unbind(1)
    return float((first / second).median())


def self_similarity(features: Tensor) -> float:
    """The mean cosine of the features [N, dim] of two different images: near 1 where the model sees all alike."""
    unit = F.normalize(features.double(), dim=1)
    count = len(unit)
    return float((unit.sum(0).square().sum() - unit.square().sum()) / (count * (count - 1)))


def cka(first: Tensor, second: Tensor) -> float:
    """Linear centred kernel alignment of two models' features [N, dim] of the same images, 0 to 1 (Kornblith et al.
    2019, "Similarity of neural network representations revisited", equation 4)."""
    a, b = (features.double() - features.double().mean(0) for features in (first, second))
    norms = (a.T @ a).norm() * (b.T @ b).norm()
    return float((a.T @ b).square().sum() / norms)

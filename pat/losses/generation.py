"""The loss between what is generated and its target, two maps [B, C, h, w], in float32; and two kinds of targets."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

KINDS = ("smooth_l1", "mse", "cosine")
POSITIONS = ("all", "masked")
BETA = 2.0
"""Where the smooth L1 loss becomes linear, as in G2SD's public code (Huang et al. 2023, arXiv 2306.12241)."""


def generation_loss(found: Tensor, target: Tensor, hidden: Tensor, kind: str, positions: str) -> Tensor:
    """Mean over positions of a distance over channels: mean smooth L1 (beta 2), mean square, or 1 - cosine.

    `positions`: all of them, or those that are `hidden`, bool [B, 1, h, w].
    """
    found, target = found.float(), target.float()
    if kind == "cosine":
        apart = 1 - F.cosine_similarity(found, target, dim=1)
    elif kind == "mse":
        apart = F.mse_loss(found, target, reduction="none").mean(1)
    else:
        apart = F.smooth_l1_loss(found, target, beta=BETA, reduction="none").mean(1)
    return apart.mean() if positions == "all" else (apart * hidden[:, 0]).sum() / hidden.sum()


def normalised_tokens(x: Tensor) -> Tensor:
    """Each position of a map [B, C, h, w] with mean 0 and variance 1 over its channels: LayerNorm without weights."""
    return F.layer_norm(x.float().permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)


def normalised_patches(images: Tensor, side: int) -> Tensor:
    """The pixels of each patch of `side` pixels, mean 0 and (unbiased) variance 1 over the patch: [B, C side^2, h, w].

    The target of MAE, He et al. 2022 (arXiv 2111.06377), section 3, and of SparK.
    """
    patches = F.pixel_unshuffle(images.float(), side)
    variance, mean = patches.var(1, keepdim=True), patches.mean(1, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()

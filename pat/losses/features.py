"""Losses between pooled features [B, D], image by image: scalars, in float32 whatever the inputs are."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def normalised_feature_loss(projected: Tensor, teacher: Tensor) -> Tensor:
    """Mean smooth L1 distance of projected features [B, D] from the teacher's, normalised image by image.

    VkD, Miles et al. 2024 (arXiv 2403.06213): LayerNorm without weights.
    """
    teacher = teacher.float()
    return F.smooth_l1_loss(projected.float(), F.layer_norm(teacher, teacher.shape[1:]))

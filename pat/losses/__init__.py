"""Distillation losses: pure functions of tensors, each a scalar, computed in float32 whatever the inputs are."""

from pat.losses.correlation import pearson, standardise
from pat.losses.features import normalised_feature_loss
from pat.losses.generation import KINDS, POSITIONS, generation_loss, normalised_patches, normalised_tokens
from pat.losses.logits import (
    confidence_loss,
    cross_entropy,
    dist_loss,
    dkd_loss,
    kd_loss,
    masked_correlation_loss,
    nkd_loss,
    ofa_loss,
    self_distillation_losses,
    ttm_loss,
)
from pat.losses.maps import NORMS, area_loss, hcl_loss, hint_loss, over_stages
from pat.losses.relations import (
    correlation_loss,
    full_precision,
    info_nce_loss,
    kernel_correlation_loss,
    nce_loss,
    redundancy_loss,
    rkd_angle_loss,
    rkd_distance_loss,
)

__all__ = [
    "KINDS",
    "NORMS",
    "POSITIONS",
    "area_loss",
    "confidence_loss",
    "correlation_loss",
    "cross_entropy",
    "dist_loss",
    "dkd_loss",
    "full_precision",
    "generation_loss",
    "hcl_loss",
    "hint_loss",
    "info_nce_loss",
    "kd_loss",
    "kernel_correlation_loss",
    "masked_correlation_loss",
    "nce_loss",
    "nkd_loss",
    "normalised_feature_loss",
    "normalised_patches",
    "normalised_tokens",
    "ofa_loss",
    "over_stages",
    "pearson",
    "redundancy_loss",
    "rkd_angle_loss",
    "rkd_distance_loss",
    "self_distillation_losses",
    "standardise",
    "ttm_loss",
]

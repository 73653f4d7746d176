"""Distillation losses: pure functions of tensors, each a scalar, computed in float32 whatever the inputs are."""

from pat.losses.logits import cross_entropy, dist_loss, dkd_loss, kd_loss, ofa_loss, pearson
from pat.losses.maps import NORMS, hcl_loss, hint_loss, over_stages
from pat.losses.relations import (
    correlation_loss,
    full_precision,
    kernel_correlation_loss,
    nce_loss,
    rkd_angle_loss,
    rkd_distance_loss,
)

__all__ = [
    "NORMS",
    "correlation_loss",
    "cross_entropy",
    "dist_loss",
    "dkd_loss",
    "full_precision",
    "hcl_loss",
    "hint_loss",
    "kd_loss",
    "kernel_correlation_loss",
    "nce_loss",
    "ofa_loss",
    "over_stages",
    "pearson",
    "rkd_angle_loss",
    "rkd_distance_loss",
]

"""Small CNNs of as many of timm's files: each is exact as a sparse encoder, or refused with the module in the way."""

from __future__ import annotations

import pytest

from pat.islands import check_sparse
from pat.sparse import SparseError
from tests.pat.walk_sparse import examine

EXACT = (
    "test_byobnet", "test_convnext", "test_efficientnet", "test_nfnet", "test_resnet", "cs3darknet_focus_s",
    "cspnext_tiny", "densenet121", "dla46_c", "ese_vovnet19b_slim_dw", "fasternet_t0", "fastvit_t8", "ghostnet_050",
    "inception_next_atto", "lcnet_050", "lcnetv2_small", "mambaout_femto", "mobilenetv2_050", "mobilenetv3_small_050",
    "regnetx_002", "regnety_002", "repghostnet_050", "repvit_m0_9", "rexnet_100", "starnet_s050", "vovnet39a",
)  # fmt: skip
REFUSED = {
    "cpubone_nano": r"'stages\.2\.1\.total\.1\.main\.spatial_conv\.conv\.1' \(Conv2d\): a map of 7 x 9 positions",
    "efficientformerv2_s0": r"'stages\.2\.blocks\.4\.token_mixer' \(Attention2d\) takes no images of 32x64 px",
    "efficientvim_m1": r"'stages\.0\.blocks\.0\.mixer' \(HSMSSD\) mixes visible and hidden positions",
    "ghostnetv2_100": r"'blocks\.8\.0\.ghost1' \(GhostModuleV2\) takes no images of 32x64 px",
    "ghostnetv3_050": r"'blocks\.8\.0\.ghost1' \(GhostModuleV3\) takes no images of 32x64 px",
    "hgnetv2_b0": r"'stem\.stem2a\.conv' \(Conv2d\): a map of 49 x 65 positions cannot be cut into 3 x 4 cells",
    "iformer_t": r"'stages\.2\.blocks\.7\.mixer\.module' \(SHMA\) mixes visible and hidden positions",
    "lowformer_b0": r"'stages\.2\.1\.attn\.main\.1' \(ConvAttention\) mixes visible and hidden positions",
    "mobilevitv2_050": r"'stages\.2\.1\.transformer\.0\.norm1' \(GroupNorm1\): a map of 4 x 48 positions",
    "swiftformer_xs": r"'stages\.0\.blocks\.2\.attn' \(EfficientAdditiveAttention\) mixes visible and hidden positions",
}
"""Attention; maps that are no whole positions a cell; pooling of the last map by two, where a cell is one position."""


@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_it_is_exact(name: str) -> None:
    """On an island, in train and in eval mode; where all is visible it is the plain model; no hole is read."""
    found = examine(name)
    assert (found["family"], found["refused"], found["wrong"]) == ("cnn", "", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(SparseError, match=f"model '{name}' cannot be sparse: {REFUSED[name]}"):
        check_sparse(name)

"""Sparse convolution by masking: an island of visible cells is the plain model's answer to the image cut to it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import pat.sparse
from pat.islands import NEARLY_ZERO, check_sparse, find_leak
from pat.replay import Call
from pat.sparse import Sparse, SparseError, Visible
from pat.taps import StageTaps, Tapped

FAST = ("resnet_nano_32", "convnext_micro_32", "test_efficientnet")
LARGER = (
    "resnet18", "resnet50", "mobilenetv2_100", "efficientnet_b0", "mobilenetv3_small_100", "convnext_atto",
    "convnextv2_atto", "regnety_002", "skresnet18", "resnest14d", "gcresnet33ts",
)  # fmt: skip
ALL = [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGER)]
GRID, TOP, LEFT, HEIGHT, WIDTH = (4, 4), 1, 1, 2, 3
EXACT, DENSE = 1e-10, 1e-12
POOLED_NORMS = ("skresnet18", "resnest14d")
"""BatchNorm of pooled values, one an image, makes more of rounding."""


def build(name: str, train: bool) -> Sparse:
    """The model in float64 without weights near zero; in train mode its norms, not its dropout."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0).double()
    with torch.no_grad():
        for weight in (*model.parameters(), *(x for n, x in model.named_buffers() if n.endswith("running_mean"))):
            weight.copy_(torch.where(weight.abs() < NEARLY_ZERO, torch.randn_like(weight) / 10, weight))
    sparse = Sparse(StageTaps(model, (96, 128)))
    for module in model.eval().modules():
        module.training = train and hasattr(module, "running_mean")
    return sparse


def noise(sparse: Sparse, batch: int = 2, seed: int = 1) -> Tensor:
    size = [side * sparse.cell for side in GRID]
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def island(batch: int = 2) -> Visible:
    rows, columns = torch.arange(TOP, TOP + HEIGHT), torch.arange(LEFT, LEFT + WIDTH)
    return Visible((rows[:, None] * GRID[1] + columns).flatten().expand(batch, -1), GRID)


def everything(batch: int = 2) -> Visible:
    return Visible(torch.arange(GRID[0] * GRID[1]).expand(batch, -1), GRID)


def cut(x: Tensor, cell: int) -> Tensor:
    return x[:, :, TOP * cell : (TOP + HEIGHT) * cell, LEFT * cell : (LEFT + WIDTH) * cell]


def apart(found: Tensor, wanted: Tensor) -> float:
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


def statistics(model: nn.Module) -> dict[str, Tensor]:
    return {name: x.clone() for name, x in model.named_buffers() if "running" in name}


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", ALL)
def test_an_island_is_the_image_cut_to_it(name: str, train: bool) -> None:
    """Every stage's map, and in train mode the running statistics."""
    sparse = build(name, train)
    plain = copy.deepcopy(sparse.taps)
    images = noise(sparse)
    with torch.no_grad():
        found, wanted = sparse(images, island()).maps, plain(cut(images, sparse.cell)).maps
    for stage, one, other in zip(sparse.taps.stages, found, wanted, strict=True):
        assert apart(cut(one, sparse.cell // stage.stride), other) <= EXACT
    for name, moved in statistics(sparse.taps.model).items():
        torch.testing.assert_close(moved, statistics(plain.model)[name], rtol=EXACT, atol=EXACT)
    assert train or not find_leak(sparse, train=False)


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", ALL)
def test_where_all_is_visible_it_is_the_plain_model(name: str, train: bool) -> None:
    sparse = build(name, train)
    plain = copy.deepcopy(sparse.taps)
    with torch.no_grad():
        found, wanted = sparse(noise(sparse), everything()), plain(noise(sparse))
    bound = EXACT if name in POOLED_NORMS else DENSE
    assert all(apart(one, other) <= bound for one, other in zip(found.maps, wanted.maps, strict=True))


@pytest.mark.parametrize("name", ALL)
def test_nothing_in_the_holes_is_read(name: str) -> None:
    """Nan there gives bit for bit the same maps at visible positions, the same finite gradients and statistics."""
    given, made = [], []
    for fill in (0.0, torch.nan):
        sparse = build(name, train=True)
        visible = Visible(torch.tensor([[1, 6, 11], [0, 5, 15]]), GRID)
        images = noise(sparse)
        images = images.masked_fill(visible.hidden((images.shape[2], images.shape[3])), fill)
        last = visible.gathered(sparse(images, visible).maps[-1])
        last.square().mean().backward()
        gradients = [p.grad for p in sparse.taps.model.parameters() if p.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients) and len(gradients) > 10
        given.append(last)
        made.append([*gradients, *statistics(sparse.taps.model).values()])
    assert torch.equal(*given) and torch.isfinite(given[0]).all()
    assert all(torch.equal(one, other) for one, other in zip(*made, strict=True))


def test_positions_are_those_of_the_cells() -> None:
    """2 x 3 cells of 2 x 1 positions each; index, holes, gathering and scattering say the same."""
    visible = Visible(torch.tensor([[0, 4], [2, 3]]), (2, 3))
    hidden = visible.hidden((4, 3))
    assert hidden.shape == (2, 1, 4, 3) and visible.share == 1 / 3
    assert hidden[0, 0].tolist() == [[False, True, True]] * 2 + [[True, False, True]] * 2
    assert visible.index((4, 3)).tolist() == [[0, 3, 7, 10], [2, 5, 6, 9]]
    x = torch.arange(48.0).view(2, 2, 4, 3)
    values = visible.gathered(x)
    assert values[1].tolist() == [[24.0 + i for i in (2, 5, 6, 9)], [36.0 + i for i in (2, 5, 6, 9)]]
    assert torch.equal(visible.scattered(values, (4, 3)), x.masked_fill(hidden, 0))
    with pytest.raises(SparseError, match="a map of 5 x 3 positions cannot be cut into 2 x 3 cells"):
        visible.hidden((5, 3))


@pytest.mark.parametrize("name", FAST)
def test_a_model_is_afterwards_what_it_was(name: str) -> None:
    """Names of weights, forwards, and the plain pass between sparse ones."""
    sparse = build(name, train=False)
    model, names = sparse.taps.model, list(sparse.taps.model.state_dict())
    images = noise(sparse)
    with torch.no_grad():
        before: Tapped = sparse.taps(images)
        sparse(images, island())
        after = sparse.taps(images)
    assert torch.equal(before.logits, after.logits) and names == list(model.state_dict())
    assert not [module for module in model.modules() if "forward" in vars(module)]


@pytest.mark.parametrize("name", FAST)
def test_exact_models_are_let_through(name: str) -> None:
    check_sparse(name)


@pytest.mark.slow
def test_a_refusal_names_model_and_module() -> None:
    with pytest.raises(SparseError, match=r"'mobilevit_xxs' cannot be sparse: 'stages\.2\.1' \(MobileVitBlock\) mixes"):
        check_sparse("mobilevit_xxs")


class Leaky(nn.Module):
    """What reads beside itself in its own code."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x.roll(1, dims=3)


def test_a_leak_is_found_and_named() -> None:
    """In a module's own code, and where a rule is missing for a norm or a convolution."""
    sparse = build("resnet_nano_32", train=True)
    assert not find_leak(sparse)
    sparse.taps.model.layer2[0].act1 = Leaky()  # type: ignore[union-attr, index]
    assert find_leak(sparse) == "'layer2.0.act1' (Leaky) mixes visible and hidden positions"


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("resnet_nano_32", "layer1.0.bn1"),
        ("resnet_nano_32", "maxpool"),
        ("convnext_micro_32", "stages.1.blocks.0.conv_dw"),
    ],
)
def test_every_rule_is_needed(name: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of convolutions and pooling where what comes before leaves something in the holes that is not nothing."""
    rules = pat.sparse._rules

    def without(model: nn.Module, calls: list[Call]) -> dict[str, Any]:
        return {name: rule for name, rule in rules(model, calls).items() if name != missing}

    monkeypatch.setattr(pat.sparse, "_rules", without)
    sparse = build(name, train=True)
    if missing == "maxpool":
        sparse.taps.model.act1 = nn.GELU()
    assert repr(missing) in find_leak(sparse)


def test_the_check_draws_nothing_from_what_others_draw() -> None:
    """A run's decoder is drawn behind it, and must not depend on whether the process has made the check before."""
    check_sparse.cache_clear()
    torch.manual_seed(7)
    before = torch.get_rng_state()
    for _ in range(2):
        check_sparse("convnext_nano_patch1_32")
        assert torch.equal(torch.get_rng_state(), before)

"""Pyramids of timm backbones: any canvas, prompts, frozen norms, refusals; segmenters and valid areas."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from pat.dense.detector import Detector
from pat.dense.fpn import Pyramid, create_backbone
from pat.dense.segmenter import Segmenter
from pat.dense.valid import valid_area
from pat.errors import ConfigError
from pat.layouts import Size
from pat.models import has_batchnorm
from pat.prompts import PromptBlock
from tests.pat.dense import CANVAS, CNN, SWIN, detector, images
from tests.tags import add_tag


@pytest.mark.parametrize("name", [CNN, SWIN, "mobilenetv2_050", "convnext_micro_32", "pvt_v2_b0"])
@pytest.mark.parametrize("canvas", [CANVAS, (96, 160)])
def test_levels_halve_at_every_canvas(name: str, canvas: Size) -> None:
    model = Pyramid(create_backbone(name, CANVAS), CANVAS, width=8)
    with torch.no_grad():
        levels = model.pyramid(model.taps(images(canvas=canvas)).maps)
    assert [tuple(x.shape) for x in levels] == [(2, 8, canvas[0] // s, canvas[1] // s) for s in (4, 8, 16, 32)]
    assert model.strides == [4, 8, 16, 32]


@pytest.mark.parametrize("name", [CNN, SWIN])
@pytest.mark.parametrize("canvas", [CANVAS, (96, 64)])
def test_prompts_of_strength_zero_change_no_level(name: str, canvas: Size) -> None:
    model, x = detector(name).eval().requires_grad_(False), images(canvas=canvas)
    blocks = nn.ModuleList(PromptBlock((stage.in_channels, *stage.in_size), None) for stage in model.taps.stages)
    plain, memory = model.taps.remember(x, before=0)
    prompted = model.taps.prompted(x, dict(enumerate(blocks)), memory)
    pairs = zip(model.pyramid(plain.maps), model.pyramid(prompted.maps), strict=True)
    assert len(plain.maps) == 4 and all(torch.equal(a, b) for a, b in pairs)
    sum(level.square().sum() for level in model.pyramid(prompted.maps)).backward()
    assert all(float(block.strength.grad.abs()) > 0 for block in blocks)


def test_a_copy_reads_its_own_backbone() -> None:
    model, x = detector().eval(), images()
    twin = copy.deepcopy(model)
    assert twin.taps.model is twin.backbone is not model.backbone
    with torch.no_grad():
        before = model.taps(x).maps
        for weight in twin.backbone.parameters():
            weight.mul_(1.5)
        assert all(torch.equal(a, b) for a, b in zip(before, model.taps(x).maps, strict=True))
        assert not torch.equal(before[0], twin.taps(x).maps[0])


@pytest.mark.parametrize("name", [CNN, SWIN])
def test_recomputed_activations_change_nothing(name: str) -> None:
    model, x, seen = detector(name), images(), []
    model.backbone.eval()  # no drop path
    for recompute in (False, True):
        model.set_grad_checkpointing(recompute)
        model.zero_grad()
        levels = model.pyramid(model.taps(x).maps)
        sum(level.square().sum() for level in levels).backward()
        seen.append((levels, [p.grad for p in model.backbone.parameters() if p.grad is not None]))
    assert len(seen[0][1]) > 10
    torch.testing.assert_close(*seen)


def test_weights_without_decay_are_the_backbones() -> None:
    model, own = detector(SWIN), dict(detector(SWIN).named_parameters())
    names = model.no_weight_decay()
    assert names and all(name.startswith("backbone.") and name in own for name in names)
    assert detector(CNN).no_weight_decay() == set()


@pytest.mark.parametrize("name", [CNN, "mobilenetv2_050"])
def test_frozen_norms_keep_pretrained_statistics(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.pth"
    tag = add_tag(monkeypatch, name, file)
    weights = torch.load(file, weights_only=True)
    for key in weights:
        if "running" in key:
            weights[key].uniform_(0.5, 1.5)
    torch.save(weights, file)
    plain, frozen = (create_backbone(name, CANVAS, f"timm:{tag}", freeze_norm=freeze) for freeze in (False, True))
    assert has_batchnorm(plain) and not has_batchnorm(frozen)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in frozen.modules())
    model = Pyramid(frozen, CANVAS, width=8).train()
    loss = sum(level.sum() for level in model.pyramid(model.taps(images()).maps))
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=1e-6).step()
    kept = [key for key in weights if "running" in key or (".bn" in key and not key.endswith("num_batches_tracked"))]
    state = frozen.state_dict()
    assert len(kept) > 8 and all(torch.equal(state[key], weights[key]) for key in kept)
    result = timm.create_model(name, num_classes=0).load_state_dict(state, strict=False)
    assert not result.unexpected_keys and all(key.endswith("num_batches_tracked") for key in result.missing_keys)
    frozen.load_state_dict(plain.state_dict())  # torch's own knows what a frozen norm does not count
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(images()), frozen.train()(images()))


def test_a_backbone_is_timms_own() -> None:
    state = detector(SWIN).backbone.state_dict()
    timm.create_model(SWIN, num_classes=0).load_state_dict(state, strict=True)


def test_windows_shift_at_every_size_as_at_a_large_one() -> None:
    """A Swin whose last map is one window when it is built shifts that stage's windows at larger canvases."""
    shifts = [block.shift_size for block in create_backbone(SWIN, (64, 64)).layers[-1].blocks]
    assert shifts == [(0, 0), (3, 3)]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_tiny_patch16_224", "its stages have strides 16, 16, 16, 16"),
        ("vit_nano_patch8_32", "its stages have strides 8, 8, 8, 8"),
        ("mixer_nano_patch8_32", "its grid is fixed"),
        ("resmlp_12_224", "its grid is fixed"),
        ("twins_pcpvt_small", "its grid is fixed"),
        ("test_coatnet", "its grid is fixed"),
        ("shvit_s1", "its stages have strides 16, 32, 64"),
        ("mobilevitv2_050", "its maps of 96x160 px are not of strides 4, 8, 16, 32"),
        ("halonet26t", "it takes no images of 64x96 px"),
    ],
)
def test_refused_backbones(name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Pyramid(create_backbone(name, CANVAS), CANVAS, width=8)
    start = f"model {name!r}: cannot be the backbone of detection or segmentation: {reason}; choose a strided one"
    assert str(caught.value).startswith(start) and "\n" not in str(caught.value)


def test_an_unknown_backbone() -> None:
    with pytest.raises(ConfigError, match="unknown model 'resnet_pico_32'; did you mean"):
        create_backbone("resnet_pico_32", CANVAS)


@pytest.mark.parametrize("canvas", [CANVAS, (96, 160)])
def test_segmenter(canvas: Size) -> None:
    torch.manual_seed(0)
    model, x = Segmenter(create_backbone(CNN, CANVAS, freeze_norm=True), 7, CANVAS, width=8), images(canvas=canvas)
    assert not has_batchnorm(model)  # the head's norm shares its statistics
    logits = model(x)
    assert logits.shape == (2, 7, canvas[0] // 4, canvas[1] // 4)
    levels = model.pyramid(model.taps(x).maps)
    total = levels[0]
    for level in levels[1:]:
        total = total + nn.functional.interpolate(level, scale_factor=total.shape[2] // level.shape[2], mode="bilinear")
    torch.testing.assert_close(logits, model.classify(total))
    logits.sum().backward()
    assert all(p.grad is not None for p in model.fpn.parameters())
    with torch.no_grad():
        model.classify[0].weight.mul_(2)
        torch.testing.assert_close(model(x), logits, rtol=1e-3, atol=1e-3)  # the head is normalised
    with torch.autocast("cpu", torch.bfloat16):
        assert model(x).dtype == torch.float32


def test_detector_and_segmenter_of_one_backbone() -> None:
    backbone = create_backbone(SWIN, CANVAS)
    for model in (Segmenter(backbone, 3, CANVAS), Detector(backbone, 3, CANVAS, width=8, hidden=8)):
        assert {key for key in model.state_dict() if key.startswith("backbone.")} == {
            f"backbone.{key}" for key in backbone.state_dict()
        }


@pytest.mark.parametrize("canvas", [(64, 96), (96, 160), (224, 320)])
def test_valid_area_is_the_literal_one(canvas: Size) -> None:
    sizes = torch.tensor([canvas, (33, 50), (1, 1), (32, 64)])
    for stride in (4, 8, 16, 32, 64):
        level = (-(-canvas[0] // stride), -(-canvas[1] // stride))
        area = valid_area(sizes, canvas, level)
        expected = torch.zeros(4, 1, *level, dtype=torch.bool)
        for image, (height, width) in enumerate(sizes.tolist()):
            for row in range(level[0]):
                for column in range(level[1]):
                    expected[image, 0, row, column] = row * stride < height and column * stride < width
        assert area.dtype == torch.bool and torch.equal(area, expected)
        assert area.flatten(1).any(dim=1).all() and area[0].all()


def test_valid_area_of_each_image_alone() -> None:
    sizes: Tensor = torch.tensor([(40, 90), (64, 17)])
    both = valid_area(sizes, (64, 96), (8, 12))
    alone = [valid_area(sizes[i : i + 1], (64, 96), (8, 12)) for i in (0, 1)]
    assert torch.equal(both, torch.cat(alone))

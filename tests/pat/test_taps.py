"""Taps: maps of every family, prompts of strength 0, nothing below the first prompt computed again."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from pat.__main__ import main
from pat.stages import _cuts
from pat.taps import StageTaps, TapError

Size = int | tuple[int, int]
# name, image size, prefix tokens at the end of each stage
MODELS: list[tuple[str, Size, int]] = [
    ("test_resnet", 64, 0),
    ("test_resnet", (64, 96), 0),
    ("test_convnext", (96, 64), 0),
    ("test_efficientnet", 64, 0),
    ("test_byobnet", 64, 0),
    ("test_nfnet", 64, 0),
    ("test_mambaout", 64, 0),
    ("test_vit", 64, 1),
    ("test_vit", (64, 96), 1),
    ("test_vit4", 64, 1),
    ("test_coatnet", 96, 0),
    ("resnetv2_18", 64, 0),
    ("mobilenetv2_050", 64, 0),
    ("swin_pico_patch4_window7_224", 64, 0),
    ("swin_pico_patch4_window7_224", (64, 96), 0),
    ("swinv2_cr_tiny_ns_224", 64, 0),
    ("deit_tiny_distilled_patch16_224", 64, 2),
    ("vit_tiny_patch16_dinov3_qkvb", 64, 5),
    ("mixer_nano_patch8_32", 32, 0),
    ("resmlp_12_224", (64, 96), 0),
    ("pvt_v2_b0", (96, 64), 0),
    ("edgenext_xx_small", 64, 0),
    ("poolformerv2_s12", 64, 0),
    ("mobilevit_xxs", 64, 0),
    ("xcit_nano_12_p16_224", (64, 96), 0),
]
IDS = [f"{name}-{size}".replace(" ", "") for name, size, _ in MODELS]


def build(name: str, size: Size) -> StageTaps:
    torch.manual_seed(0)
    config = timm.get_pretrained_cfg(name)
    model = timm.create_model(name, num_classes=5, **({"img_size": size} if config.fixed_input_size else {}))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1 and not weight.any():
                weight.normal_(std=0.02)  # a head of zeros would let no gradient pass
    return StageTaps(model, size)


def images(taps: StageTaps) -> Tensor:
    return torch.randn(3, 3, *taps.image_size, generator=torch.Generator().manual_seed(1))


def prompts(taps: StageTaps, before: int) -> tuple[list[Tensor], dict[int, Callable[[Tensor], Tensor]]]:
    """A prompt of strength 0 at each stage from `before` on."""
    strengths = [torch.zeros((), requires_grad=True) for _ in taps.stages[before:]]

    def prompt(strength: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda x: x + strength * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))

    return strengths, {before + i: prompt(strength) for i, strength in enumerate(strengths)}


@pytest.mark.parametrize(("name", "size", "prefix"), MODELS, ids=IDS)
def test_strength_zero_changes_nothing_and_gradients_reach_every_prompt(name: str, size: Size, prefix: int) -> None:
    taps = build(name, size)
    x = images(taps)
    model = taps.model.eval().requires_grad_(False)
    with torch.no_grad():
        plain = model(x)
    assert len(taps.stages) == 4
    assert {stage.prefix_tokens for stage in taps.stages} == {prefix}
    for before in range(4):
        with torch.no_grad():
            clean, memory = taps.remember(x, before)
        assert torch.equal(clean.logits, plain)
        strengths, blocks = prompts(taps, before)
        for _ in range(2):  # the memory must survive the model's in-place operations
            tapped = taps.prompted(x, blocks, memory)
            assert torch.equal(tapped.logits, plain)
            assert all(torch.equal(a, b) for a, b in zip(tapped.maps, clean.maps, strict=True))
        assert [found.requires_grad for found in tapped.maps] == [i >= before for i in range(4)]
        gradients = torch.autograd.grad(tapped.logits.square().sum(), strengths)
        assert all(gradient.abs() > 0 for gradient in gradients)
        if before:
            with pytest.raises(TapError, match="allowed are"):
                taps.prompted(x, {before - 1: lambda m: m}, memory)
    assert torch.equal(model(x), plain)


@pytest.mark.parametrize(("name", "size", "prefix"), MODELS, ids=IDS)
def test_maps_are_those_of_timm_and_the_plain_forward_is_untouched(name: str, size: Size, prefix: int) -> None:
    taps = build(name, size)
    x = images(taps)
    model = taps.model.eval()
    names = list(model.state_dict())
    with torch.no_grad():
        theirs = model.forward_intermediates(x, output_fmt="NCHW", intermediates_only=True)
        tapped = taps(x)
        assert torch.equal(tapped.logits, model(x))
    for stage, found in zip(taps.stages, tapped.maps, strict=True):
        assert found.shape == (3, stage.channels, *stage.size)
        assert any(found.shape == their.shape and torch.equal(found, their) for their in theirs), stage.end
    model.train()
    tapped = taps(x)
    sum(found.square().mean() for found in tapped.maps).backward()
    assert tapped.logits.shape == (3, 5)
    assert sum(weight.grad is not None for weight in model.parameters()) > 3
    assert list(model.state_dict()) == names
    assert not [module for module in model.modules() if "forward" in vars(module) or module._forward_pre_hooks]


def count_calls(model: nn.Module) -> Counter[str]:
    calls: Counter[str] = Counter()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    return calls


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "swin_pico_patch4_window7_224"])
def test_nothing_below_the_first_prompt_runs_or_is_differentiated(name: str) -> None:
    taps = build(name, 64)
    model = taps.model.eval().requires_grad_(False)
    with torch.no_grad():
        _, memory = taps.remember(images(taps), before=2)
    calls = count_calls(model)
    seen: list[Tensor] = []
    taps.prompted(images(taps), {2: lambda m: seen.append(m) or m, 3: lambda m: m}, memory)
    assert not seen[0].requires_grad
    below = [stage.end for stage in taps.stages[:2]]
    names = dict(model.named_modules())
    inside = [f"{end}.{child}" for end in below for child, _ in names[end].named_modules() if child]
    assert inside and not [name for name in inside if calls[name]]
    assert all(calls[stage.end] == 1 for stage in taps.stages[2:])


def test_an_exception_in_a_prompt_leaves_the_model_as_it_was() -> None:
    taps = build("test_vit", 64)
    model, x = taps.model.eval().requires_grad_(False), images(taps)
    plain = model(x)
    with torch.no_grad():
        _, memory = taps.remember(x, 1)
    with pytest.raises(ZeroDivisionError):
        taps.prompted(x, {1: lambda m: m / (1 // 0)}, memory)
    assert torch.equal(model(x), plain)
    assert not [module for module in model.modules() if "forward" in vars(module)]


def test_prefix_tokens_do_not_see_the_prompt_directly() -> None:
    """Only grid tokens are shown to a prompt; a prompt on them changes the logits."""
    taps = build("test_vit3", 64)
    taps.model.eval().requires_grad_(False)
    x = images(taps)
    with torch.no_grad():
        clean, memory = taps.remember(x, 0)
        shown: list[Tensor] = []
        changed = taps.prompted(x, {0: lambda m: (shown.append(m), m + torch.randn_like(m))[1]}, memory)
    assert shown[0].shape == (3, taps.stages[0].in_channels, 4, 4)
    assert not torch.allclose(changed.logits, clean.logits)


def test_token_order_of_hiera_is_found_by_value() -> None:
    """Its tokens are not in row order; the maps must be."""
    taps = build("hiera_tiny_224", 64)
    model = taps.model.eval().requires_grad_(False)
    x = images(taps)
    with torch.no_grad():
        theirs = model.forward_intermediates(x, output_fmt="NCHW", intermediates_only=True)
        clean, memory = taps.remember(x, 0)
    assert all(torch.equal(a, b) for a, b in zip(clean.maps, theirs, strict=True))
    assert torch.equal(taps.prompted(x, {i: lambda m: m + 0 for i in range(4)}, memory).logits, clean.logits)
    assert not torch.equal(taps._spans[0].end.layout.order, torch.arange(256))


def test_modes_statistics_and_random_state_survive_the_probe() -> None:
    model = timm.create_model("test_resnet", num_classes=5).train()
    model.bn1.eval()
    state, before = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    StageTaps(model, 64)
    assert model.training and not model.bn1.training
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)


def test_distilled_heads_are_averaged_in_train_mode() -> None:
    taps = build("deit_tiny_distilled_patch16_224", 64)
    taps.model.train().set_distilled_training(True)
    x = images(taps)
    assert torch.equal(taps(x).logits, sum(taps.model(x)) / 2)


def test_autocast_and_deepcopy() -> None:
    taps = build("test_convnext", 64)
    taps.model.eval().requires_grad_(False)
    x = images(taps)
    twin = copy.deepcopy(taps)
    assert twin.model is not taps.model and torch.equal(twin(x).logits, taps(x).logits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.no_grad():
            clean, memory = taps.remember(x, 1)
        _, blocks = prompts(taps, 1)
        assert torch.equal(taps.prompted(x, blocks, memory).logits, clean.logits)


CUTS = [(12, [2, 4, 10, 12]), (24, [4, 8, 20, 24]), (4, [1, 2, 3, 4]), (3, [1, 2, 3])]


@pytest.mark.parametrize(("depth", "cuts"), CUTS)
def test_isotropic_models_are_cut_in_proportion(depth: int, cuts: list[int]) -> None:
    assert _cuts(depth) == cuts


def test_a_first_stage_that_widens_its_tokens_starts_with_itself() -> None:
    """MViTv2-L goes from 144 to 288 channels within its first stage; nothing before it is announced."""
    with torch.device("meta"):
        model = timm.create_model("mvitv2_large", img_size=64).eval()
    first, second, *_ = StageTaps(model, 64).stages
    assert (first.start, first.end, first.in_channels, first.in_size) == ("stages.0", "stages.0", 144, (16, 16))
    assert (first.channels, second.start) == (288, "stages.1")


def test_a_model_without_stages_says_why() -> None:
    with pytest.raises(TapError, match="feature_info"):
        StageTaps(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), 32)


def test_the_command_shows_the_stages_or_says_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["taps", "swin_tiny_patch4_window7_224"]) == 0
    assert "layers.2  16      384       14x14" in capsys.readouterr().out
    for wrong, why in (("resnet5O", "did you mean resnet50"), ("mobilenetv5_300m_enc", "not logits")):
        assert main(["taps", wrong]) == 2
        told = capsys.readouterr().err
        assert why in told and told.count("\n") == 2 and told.startswith(f"looking at {wrong}\n")


def test_the_command_knows_a_model_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net_of_mine.py").write_text(
        "import timm\n@timm.models.register_model\ndef net_of_mine(pretrained=False, **given):\n"
        "    return timm.create_model('resnet10t', **given)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["taps", "net_of_mine", "--import", "net_of_mine"]) == 0
    assert "layer4" in capsys.readouterr().out

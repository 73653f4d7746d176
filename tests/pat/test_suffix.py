"""Models run from their last stage on: their own map gives their own logits, and nothing below is run or changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from pat.embedding import Embedding
from pat.models import create_model
from pat.suffix import Suffix
from pat.taps import StageTaps, TapError
from tests.pat.test_taps import MODELS, Size, build, count_calls

FAMILIES = (
    "test_resnet", "test_convnext", "test_efficientnet", "test_mambaout", "test_vit", "mobilenetv2_050",
    "swin_pico_patch4_window7_224", "deit_tiny_distilled_patch16_224", "vit_tiny_patch16_dinov3_qkvb",
    "mixer_nano_patch8_32", "resmlp_12_224", "pvt_v2_b0", "mobilevit_xxs", "xcit_nano_12_p16_224",
)  # fmt: skip
CUT: list[tuple[str, Size, int]] = [(name, size, prefix) for name, size, prefix in MODELS if name in FAMILIES]
THREE_STAGES_AND_TOKENS_OUT_OF_ORDER: list[tuple[str, Size, int]] = [("levit_128s", 64, 0), ("hiera_tiny_224", 64, 0)]
ALL = CUT + THREE_STAGES_AND_TOKENS_OUT_OF_ORDER
IDS = [f"{name}-{size}".replace(" ", "") for name, size, _ in ALL]


def cut(name: str, size: Size) -> tuple[StageTaps, Suffix]:
    taps = build(name, size)
    return taps, Suffix(taps, Embedding(taps.model, size))


def images(taps: StageTaps, count: int = 4) -> Tensor:
    return torch.randn(count, 3, *taps.image_size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def entering(taps: StageTaps, x: Tensor, prefix: int) -> tuple[Tensor, Tensor | None]:
    """The map that enters the last stage of a plain pass, as a prompt is shown it, and the tokens beside it."""
    last, shown, raw = len(taps.stages) - 1, list[Tensor](), list[Tensor]()
    start = taps.model.get_submodule(taps.stages[last].start)
    hook = start.register_forward_pre_hook(lambda _, args: raw.append(args[0]))
    _, memory = taps.remember(x, last)
    hook.remove()
    taps.prompted(x, {last: lambda m: (shown.append(m.clone()), m)[1]}, memory)
    return shown[0], raw[-1][:, :prefix].clone() if prefix else None


@contextmanager
def unchanged(model: torch.nn.Module) -> Iterator[None]:
    """Weights, statistics, modes and forwards are what they were."""
    state, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    yield
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not [module for module in model.modules() if "forward" in vars(module)]


@pytest.mark.parametrize(("name", "size", "prefix"), ALL, ids=IDS)
def test_its_own_map_gives_its_own_logits(name: str, size: Size, prefix: int) -> None:
    """Bit for bit, and the pooled features too; what ends before the stage is not called."""
    taps, suffix = cut(name, size)
    model, x = taps.model.eval(), images(taps)
    entered = entering(taps, x, prefix)
    assert suffix.prefix_tokens == prefix and entered[0].shape == (4, *suffix.shape)
    with torch.no_grad():
        logits, features = suffix.embedding(x)
        calls = count_calls(model)
        found = suffix(*entered)
    assert torch.equal(found[0], logits) and torch.equal(found[1], features)
    below = {stage.end for stage in taps.stages[:-1]}
    inside = [n for n in dict(model.named_modules()) if any(n.startswith(f"{end}.") for end in below)]
    assert inside and not [n for n in inside if calls[n]]


@pytest.mark.parametrize(("name", "size", "prefix"), ALL, ids=IDS)
def test_gradients_reach_what_enters_and_the_weights_from_there_on(name: str, size: Size, prefix: int) -> None:
    """In train mode, in which running statistics stay too."""
    taps, suffix = cut(name, size)
    model, x = taps.model.eval(), images(taps)
    entered = [x.requires_grad_() for x in entering(taps, x, prefix) if x is not None]
    weights = dict(model.train().named_parameters())
    map_below = taps(x).maps[-2].square().sum()
    found = torch.autograd.grad(map_below, list(weights.values()), allow_unused=True)
    below = {name for name, gradient in zip(weights, found, strict=True) if gradient is not None}
    with unchanged(model):
        logits, features = suffix(*entered)
        (logits.square().sum() + features.square().sum()).backward()
    assert all(x.grad is not None and x.grad.any() for x in entered)
    assert {name for name, weight in weights.items() if weight.grad is not None} == weights.keys() - below


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "swin_pico_patch4_window7_224", "pvt_v2_b0"])
@pytest.mark.parametrize("count", [1, 7])
def test_any_number_of_images(name: str, count: int) -> None:
    taps, suffix = cut(name, 64)
    taps.model.eval()
    x = images(taps, count)
    with torch.no_grad():
        logits, features = suffix.embedding(x)
        found = suffix(*entering(taps, x, suffix.prefix_tokens))
    torch.testing.assert_close(found, (logits, features), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "swin_pico_patch4_window7_224"])
def test_activations_are_kept_where_the_model_computes_them_anew(name: str) -> None:
    """What is computed in the backward pass is outside of the model's run from the stage."""
    taps, suffix = cut(name, 64)
    entered = entering(taps, images(taps), suffix.prefix_tokens)
    gradients = []
    for anew in (False, True):
        taps.model.train().set_grad_checkpointing(anew)
        taps.model.zero_grad()
        torch.manual_seed(0)
        suffix(*entered)[0].square().sum().backward()
        gradients.append({n: p.grad.clone() for n, p in taps.model.named_parameters() if p.grad is not None})
        assert any(getattr(module, "grad_checkpointing", False) for module in taps.model.modules()) == anew
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(gradients[0][key], gradients[1][key]) for key in gradients[0])


def test_each_stage_may_be_the_first() -> None:
    taps = build("test_convnext", 64)
    embedding, x, shown = Embedding(taps.model.eval(), 64), images(taps), list[Tensor]()
    with torch.no_grad():
        logits, memory = taps.remember(x, 0)
        taps.prompted(x, {i: lambda m: (shown.append(m.clone()), m)[1] for i in range(4)}, memory)
        for stage, entered in enumerate(shown):
            assert torch.equal(Suffix(taps, embedding, stage)(entered)[0], logits.logits)


def test_building_it_changes_nothing() -> None:
    taps = build("test_efficientnet", 64)
    taps.model.train()
    taps.model.bn2.eval()
    embedding = Embedding(taps.model, 64)
    before = torch.get_rng_state()
    with unchanged(taps.model):
        Suffix(taps, embedding)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("zero_head", [False, True])
def test_what_cannot_be_cut_is_one_line(zero_head: bool) -> None:
    """Parallel branches to the end; a head that starts at zero would give all the same logits."""
    taps = build("hrnet_w18_small", 64)
    embedding = Embedding(taps.model, 64)
    if zero_head:
        for weight in taps.model.get_classifier().parameters():
            torch.nn.init.zeros_(weight)
    with unchanged(taps.model), pytest.raises(TapError, match="model 'hrnet_w18_small' cannot be run from") as told:
        Suffix(taps, embedding)
    assert "\n" not in str(told.value)


def on_meta(name: str, size: Size) -> Suffix:
    with torch.device("meta"):
        model = create_model(name, 10, size)
    return Suffix(StageTaps(model, size), Embedding(model, size))


@pytest.mark.parametrize(("name", "size", "prefix"), ALL, ids=IDS)
def test_shapes_alone_are_enough_to_be_cut(name: str, size: Size, prefix: int) -> None:
    """What can be cut is so on meta tensors, where studies are planned."""
    planned, (_, suffix) = on_meta(name, size), cut(name, size)
    assert (planned.shape, planned.prefix_tokens) == (suffix.shape, suffix.prefix_tokens)
    map_, tokens = (
        torch.empty(2, *planned.shape, device="meta"),
        torch.empty(2, prefix, planned.shape[0], device="meta"),
    )
    assert planned(map_, tokens if prefix else None)[0].shape == (2, 10)


def test_shapes_alone_are_enough_to_be_refused() -> None:
    with pytest.raises(TapError, match="model 'hrnet_w18_small' cannot be run from") as real:
        cut("hrnet_w18_small", 64)
    with pytest.raises(TapError) as planned:
        on_meta("hrnet_w18_small", 64)
    assert str(planned.value) == str(real.value)


def test_a_model_that_breaks_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that mixes what was before the stage with what comes after it fails in its own words."""
    taps = build("test_vit", 64)
    embedding = Embedding(taps.model, 64)
    monkeypatch.setattr(Suffix, "_blank", lambda *_: 1 // 0)
    with pytest.raises(TapError, match="model 'test_vit' cannot be run from 'blocks.5' on: integer division"):
        Suffix(taps, embedding)


def test_a_copy_is_of_the_copied_model() -> None:
    taps, suffix = cut("test_vit", 64)
    twin = copy.deepcopy(suffix)
    taps.model.eval()
    entered = entering(taps, images(taps), 1)
    with torch.no_grad():
        twin.model.eval().head.weight.zero_()
        assert twin.model is not taps.model and not (twin(*entered)[0] - twin.model.head.bias).any()
        assert (suffix(*entered)[0] - taps.model.head.bias).any()

"""Pooled features beside the logits, heads on stages, and stages paired between models."""

from __future__ import annotations

import pytest
import timm
import torch

from pat.align import pair_stages
from pat.config import ConfigError
from pat.embedding import Embedding
from pat.heads import stage_head
from tests import tiny

NAMES = (tiny.CNN, tiny.VIT, tiny.MLP, tiny.BATCHNORM)
LARGE = {
    "mobilenetv2_100": 1280,
    "deit_tiny_distilled_patch16_224": 192,
    "swin_pico_patch4_window7_224": 384,
    "resmlp_12_224": 384,
}


@pytest.mark.parametrize("name", NAMES)
def test_the_features_are_those_that_the_classifier_sees(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # some heads start at zero
    images = torch.randn(3, 3, 32, 32)
    embedding = Embedding(model, 32)
    logits, features = embedding(images)
    assert torch.equal(logits, model(images)) and features.shape == (3, embedding.dim)
    torch.testing.assert_close(model.get_classifier()(features), logits)
    torch.testing.assert_close(features, model.forward_head(model.forward_features(images), pre_logits=True))


def test_building_it_changes_nothing() -> None:
    model = timm.create_model(tiny.BATCHNORM, num_classes=5).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    Embedding(model, 32)
    assert model.training and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("name", "dim"), LARGE.items())
def test_the_papers_students(name: str, dim: int) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=7)
        assert Embedding(model, 224).dim == dim


def test_a_model_without_a_classifier_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="no classifier"):
        Embedding(timm.create_model(tiny.VIT, num_classes=0), 32)


@pytest.mark.parametrize("convolutional", [True, False])
@pytest.mark.parametrize(
    ("channels", "size", "left"), [(24, (56, 56), 3), (48, (14, 14), 1), (64, (7, 7), 0), (16, (4, 2), 2)]
)
def test_heads_give_logits_for_every_stage(
    channels: int, size: tuple[int, int], left: int, convolutional: bool
) -> None:
    head = stage_head(channels, size, left, width=30, classes=9, convolutional=convolutional)
    logits = head(torch.randn(2, channels, *size))
    logits.sum().backward()
    assert logits.shape == (2, 9) and all(p.grad is not None for p in head.parameters())


def test_stages_are_paired_from_the_last() -> None:
    assert pair_stages("abcd", 4) == list("abcd")
    assert pair_stages("abcd", 3) == list("bcd")
    assert pair_stages("abc", 4) == list("aabc")

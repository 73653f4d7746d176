"""What a person calls a model, and what timm calls it."""

from __future__ import annotations

import pytest
import timm
from timm.models import get_deprecated_models

from pat.config import ConfigError
from pat.resolve import Resolved, check_model, resolve


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("resnet18", Resolved("resnet18")),
        ("resnet18.a1_in1k", Resolved("resnet18", "resnet18.a1_in1k")),
        ("tv_resnet34", Resolved("resnet34")),
        ("vit_tiny_patch16_224_in21k", Resolved("vit_tiny_patch16_224")),
        ("resnet_nano_32", Resolved("resnet_nano_32")),
    ],
)
def test_names_that_there_are(given: str, found: Resolved) -> None:
    assert resolve(given) == found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("resnet18.no_such_tag", "unknown tag 'no_such_tag' of teacher 'resnet18'; known: a1_in1k"),
        ("resnet18.a1_in1", "unknown tag 'a1_in1' of teacher 'resnet18'; did you mean a1_in1k"),
        ("resnet18.", "unknown tag '' of teacher 'resnet18'"),
        ("tv_resnet34.tv_in1k", "timm calls it 'resnet34.tv_in1k' now"),
        ("ResNet18", "unknown teacher 'ResNet18'; did you mean"),
        ("", "unknown teacher ''"),
        ("hf-hub:timm/resnet18.a1_in1k", "unknown teacher"),
    ],
)
def test_names_that_there_are_not(given: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve(given, "teacher")


def test_every_older_name_leads_to_one_that_timm_lists() -> None:
    listed = set(timm.list_models())
    for old in get_deprecated_models():
        found = resolve(old)
        assert found.name in listed and not found.tag
        with pytest.raises(ConfigError, match="timm calls it"):
            check_model(old)
    assert all(resolve(name) == Resolved(name) for name in listed)

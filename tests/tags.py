"""A tag of timm whose weights lie in a local file: timm's own way of loading, without its hub."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import timm
import torch
from timm.models import _registry

from pat.models import create_student

MEAN = (0.5, 0.4, 0.3)
"""What the tag's record says of its inputs, and that of the plain name does not."""


def add_tag(monkeypatch: pytest.MonkeyPatch, name: str, file: Path, num_classes: int = 10, seed: int = 3) -> str:
    """Writes untrained weights of the model `name` to `file` and makes them timm's `<name>.local`; returns that."""
    torch.save(create_student(name, num_classes, 32, seed).state_dict(), file)
    tag = f"{name}.local"
    own = {"num_classes": num_classes, "mean": MEAN, "file": str(file)}
    cfg = dataclasses.replace(timm.get_pretrained_cfg(name), **own)
    monkeypatch.setitem(_registry._model_pretrained_cfgs, tag, cfg)
    monkeypatch.setitem(_registry._model_with_tags, name, [tag])
    monkeypatch.setattr(_registry, "_model_has_pretrained", {*_registry._model_has_pretrained, tag})
    return tag

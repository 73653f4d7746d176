"""The stages of a model that says nothing of its features but the names of the modules that end them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pat.config import ConfigError, unknown
from pat.replay import Key, trace


class TapError(ConfigError):
    """A model whose stages cannot be found or prompted; the message says why."""


def named_stages(model: nn.Module, images: Tensor) -> list[tuple[str, int, int]]:
    """Of each module of `model.stage_names` the name, the channels and the stride of what it puts out for the images
    [B, C, H, W]. Raises TapError, with the remedy, where none is named, there is none of a name, or it gives no map."""
    names: Sequence[str] = getattr(model, "stage_names", ())
    known = [name for name, _ in model.named_modules() if name]
    if not names:
        some = ", ".join(name for name, _ in model.named_children())
        remedy = "say which modules end its stages, three or four of them: model.stage_names = ('…', '…', '…')"
        raise TapError(f"timm announces no features for it (feature_info); {remedy}; its modules are {some or 'none'}")
    for name in names:
        if name not in known:
            raise TapError(str(unknown("module", name, known, of=" in stage_names")))
    shapes: dict[str, torch.Size] = {}

    def keep(key: Key, output: Any) -> None:
        if key[0] in names:
            found = [x for x in tree_leaves(output) if isinstance(x, Tensor)]
            shapes[key[0]] = found[0].shape if found else torch.Size()

    trace(model, images, keep)
    return [(name, *_grid(model, name, shapes.get(name), images)) for name in names]


def _grid(model: nn.Module, name: str, shape: torch.Size | None, images: Tensor) -> tuple[int, int]:
    """Channels and stride of a map [B, C, H, W] or [B, H, W, C], or of tokens [B, N, C]."""
    height, width = images.shape[2:]
    ways: list[tuple[int, float, float]] = []
    if shape is not None and len(shape) == 4:
        ways = [(shape[1], height / shape[2], width / shape[3]), (shape[3], height / shape[1], width / shape[2])]
    elif shape is not None and len(shape) == 3:
        for prefix in dict.fromkeys((getattr(model, "num_prefix_tokens", 0), 0, 1)):
            side = math.sqrt(height * width / max(1, shape[1] - prefix))
            ways.append((shape[2], side, round(side)))
    for channels, down, across in ways:
        if down >= 1 and down == across == int(down):
            return channels, int(down)
    given = "nothing" if shape is None else str(list(shape))
    raise TapError(f"module {name!r} of stage_names gives {given}: no map of a {height} x {width} image")

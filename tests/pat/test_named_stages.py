"""Stages of a model that announces none, named by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pat.taps import StageTaps, TapError


class Unannounced(nn.Module):
    """Says nothing of its features: three convolutions, or an embedding and blocks of tokens behind a class token."""

    num_classes = 10

    def __init__(self, tokens: bool) -> None:
        super().__init__()
        self.tokens = tokens
        if tokens:
            self.num_prefix_tokens = 1
            self.stem = nn.Conv2d(3, 16, 8, 8)
            self.cls_token = nn.Parameter(torch.zeros(1, 1, 16))
            self.blocks = nn.Sequential(*(nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16)) for _ in range(4)))
        else:
            self.stem = nn.Conv2d(3, 8, 3, 2, 1)
            self.blocks = nn.Sequential(*(nn.Conv2d(8 * 2**i, 16 * 2**i, 3, 2, 1) for i in range(3)))
        self.head = nn.Linear(16 if tokens else 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.tokens:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
            return self.head(self.blocks(x)[:, 0])
        return self.head(self.blocks(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("tokens", "names", "shapes"),
    [
        (False, ("blocks.0", "blocks.1", "blocks.2"), [(16, 8, 8), (32, 4, 4), (64, 2, 2)]),
        (True, tuple(f"blocks.{i}" for i in range(4)), [(16, 4, 4)] * 4),
    ],
)
def test_stages_named_by_hand(tokens: bool, names: tuple[str, ...], shapes: list[tuple[int, ...]]) -> None:
    """The remedy of the message is one, and the maps are what the modules put out, without the class token."""
    torch.manual_seed(0)
    model, images = Unannounced(tokens).eval(), torch.randn(2, 3, 32, 32)
    with pytest.raises(TapError, match=r"\(feature_info\); say which .*: model.stage_names = .* stem, blocks, head"):
        StageTaps(model, 32)
    model.stage_names = names
    taps = StageTaps(model, 32)
    assert [stage.end for stage in taps.stages] == list(names)
    tapped, seen = taps(images), {}
    for name in names:
        model.get_submodule(name).register_forward_hook(lambda _, args, out, name=name: seen.update({name: out}))
    torch.testing.assert_close(tapped.logits, model(images))
    assert [tuple(x.shape[1:]) for x in tapped.maps] == shapes
    for name, found in zip(names, tapped.maps, strict=True):
        expected = seen[name][:, 1:].transpose(1, 2).reshape(2, -1, 4, 4) if tokens else seen[name]
        torch.testing.assert_close(found, expected)
    for wrong, words in (
        (("block",), "unknown module 'block' in stage_names"),
        (("head",) * 3, "'head' of stage_names"),
    ):
        model.stage_names = wrong
        with pytest.raises(TapError, match=words):
            StageTaps(model, 32)

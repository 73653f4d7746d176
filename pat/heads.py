"""Heads that turn a student's stage into logits (OFA-KD, Hao et al. 2023, arXiv 2310.19444, section 3.2)."""

from __future__ import annotations

import math

from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pat.align import GlobalBatchNorm2d

FINAL_GRID = 7
"""Token heads merge 2 x 2 patches until the grid is about as fine as this (49 tokens at 224 px)."""
HEADS = 4


def stage_head(
    channels: int, size: tuple[int, int], stages_left: int, width: int, classes: int, convolutional: bool
) -> nn.Module:
    """A head [B, channels, *size] -> logits [B, classes]; `stages_left` is 0 for the student's last stage.

    The published code keeps the class token of a token student where there is one; here every head averages
    positions, since a stage's map has no such token.
    """
    body = _convolutions(channels, stages_left, width) if convolutional else _tokens(channels, size, stages_left, width)
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def _convolutions(channels: int, stages_left: int, width: int) -> list[nn.Module]:
    """A separable convolution of stride 2 for each later stage; channels double up to the last one's `width`."""
    if stages_left == 0:
        return [nn.Conv2d(channels, width, kernel_size=1)]
    ins = [channels * 2**step for step in range(stages_left)]
    return [_separable(a, b) for a, b in zip(ins, [*ins[1:], width], strict=True)]


def _separable(channels: int, out: int) -> nn.Module:
    """Depthwise and pointwise, twice; the first time with stride 2."""
    layers: list[nn.Module] = []
    for stride, target in ((2, channels), (1, out)):
        layers += [
            nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, target, 1, bias=False),
            GlobalBatchNorm2d(target),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def _tokens(channels: int, size: tuple[int, int], stages_left: int, width: int) -> list[nn.Module]:
    """Patch merging down to the final grid, then a transformer block for each later stage (one at least)."""
    merges = max(0, round(math.log2(min(size) / FINAL_GRID)))
    layers: list[nn.Module] = []
    for _ in range(merges):
        layers += [nn.Conv2d(channels, width, kernel_size=2, stride=2), nn.GELU()]
        channels = width
    if channels != width:
        layers.append(nn.Conv2d(channels, width, kernel_size=1))
    heads = math.gcd(width, HEADS)
    return [*layers, OnTokens(nn.Sequential(*(Block(width, heads) for _ in range(max(1, stages_left)))))]


class OnTokens(nn.Module):
    """Applies a module of tokens [B, N, D] to a map [B, D, h, w]."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])

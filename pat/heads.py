"""Heads that turn a student's stage into logits (OFA-KD, Hao et al. 2023, arXiv 2310.19444, section 3.2)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pat.align import GlobalBatchNorm2d, published_weights, resize

FINAL_GRID = 7
"""Token heads merge 2 x 2 patches until the grid is about as fine as this (49 tokens at 224 px)."""
HEADS = 4


def stage_head(
    channels: int,
    size: tuple[int, int],
    stages_left: int,
    width: int,
    classes: int,
    convolutional: bool,
    published: bool = False,
) -> nn.Module:
    """A head [B, channels, *size] -> logits [B, classes]; `stages_left` is 0 for the student's last stage.

    `published`: patches are merged and weights begin as in the public code. That keeps the class token of a token
    student where there is one; here every head averages positions, since a stage's map has no such token.
    """
    if convolutional:
        body = _convolutions(channels, stages_left, width)
    else:
        merging = _published_merging if published else _merging
        merged, found = merging(channels, size, width)
        body = [*merged, *_blocks(found, stages_left, width)]
    head = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
    if published:
        published_weights(head)
    return head


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


def _merging(channels: int, size: tuple[int, int], width: int) -> tuple[list[nn.Module], int]:
    """Convolutions of 2 x 2 patches down to about the final grid, and the channels that come out."""
    merges = max(0, round(math.log2(min(size) / FINAL_GRID)))
    layers: list[nn.Module] = []
    for _ in range(merges):
        layers += [nn.Conv2d(channels, width, kernel_size=2, stride=2), nn.GELU()]
        channels = width
    return layers, channels


def _published_merging(channels: int, size: tuple[int, int], width: int) -> tuple[list[nn.Module], int]:
    """The public code's: never below the final grid, normalised, and the last of several without an activation."""
    merges = max(0, int(math.log2(min(size) / FINAL_GRID)))
    layers: list[nn.Module] = []
    for merge in range(merges):
        layers.append(PatchMerging(channels, width))
        if merge == 0 or merge < merges - 1:
            layers.append(nn.GELU())
        channels = width
    return layers, channels


def _blocks(channels: int, stages_left: int, width: int) -> list[nn.Module]:
    """A transformer block of `width` for each later stage, one at least."""
    heads = math.gcd(width, HEADS)
    blocks = OnTokens(nn.Sequential(*(Block(width, heads) for _ in range(max(1, stages_left)))))
    return [blocks] if channels == width else [nn.Conv2d(channels, width, kernel_size=1), blocks]


class PatchMerging(nn.Module):
    """2 x 2 patches of a map [B, C, h, w], normalised and projected: [B, out, h / 2, w / 2]; an odd side is stretched.

    Swin (Liu et al. 2021, arXiv 2103.14030), section 3.1.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.project = nn.Linear(4 * channels, out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        even = [side + side % 2 for side in x.shape[-2:]]
        patches = F.pixel_unshuffle(resize(x, even), 2).permute(0, 2, 3, 1)
        return self.project(self.norm(patches)).permute(0, 3, 1, 2)


class OnTokens(nn.Module):
    """Applies a module of tokens [B, N, D] to a map [B, D, h, w]."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])

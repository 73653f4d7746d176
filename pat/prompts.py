"""Adaptive feedback prompts (AFP): small trained blocks in front of the stages of a frozen teacher.

PAT (arXiv 2501.08885), section 3.3. The squeeze-and-excitation gates multiply their features, so a prompt is a map
and not a bias per channel.
"""

from __future__ import annotations

import math

import torch
from timm.layers import SEModule
from torch import Tensor, nn

from pat.align import Aligner, resize

Shape = tuple[int, int, int]


class PromptBlock(nn.Module):
    """x [B, C, H, W] -> x + strength * prompt(x, feedback), strength a scalar that starts at 0.

    `shape` is (C, H, W) of what enters the stage, `feedback` the shape of the feedback map, None for no feedback. Both
    may have other heights and widths in a forward.
    """

    def __init__(self, shape: Shape, feedback: Shape | None) -> None:
        super().__init__()
        channels = shape[0]
        groups = math.gcd(4, channels)
        self.feedback = nn.Identity() if feedback in (None, shape) else Aligner(feedback[0], channels)
        self.fuse = nn.Sequential(
            nn.Conv2d(channels if feedback is None else 2 * channels, channels, kernel_size=1),
            nn.Conv2d(channels, channels, kernel_size=5, padding=2),
            nn.Conv2d(channels, channels, kernel_size=1),
            _gate(channels),
            nn.Conv2d(channels, channels, kernel_size=1),
        )
        self.prompt = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=1, groups=groups),
            nn.Conv2d(channels, channels, kernel_size=5, padding=2, groups=channels),
            nn.Conv2d(channels, channels, kernel_size=1),
            _gate(channels),
            nn.Conv2d(channels, channels, kernel_size=1, groups=groups),
        )
        self.strength = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, feedback: Tensor | None = None) -> Tensor:
        fused = x if feedback is None else torch.cat([x, resize(self.feedback(feedback), x.shape[-2:])], dim=1)
        return x + self.strength * self.prompt(self.fuse(fused))


def _gate(channels: int) -> nn.Module:
    return SEModule(channels, rd_channels=max(channels // 16, 1))

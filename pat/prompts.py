"""Adaptive feedback prompts (AFP): small trained blocks in front of the stages of a frozen teacher.

PAT (arXiv 2501.08885), section 3.3. The squeeze-and-excitation gates multiply their features, so a prompt is a map
and not a bias per channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from timm.layers import SEModule
from torch import Tensor, nn

from pat.align import Aligner, Shape, resize
from pat.errors import ConfigError


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


class Told:
    """A prompt block with its feedback filled in."""

    def __init__(self, block: nn.Module, feedback: Tensor | None) -> None:
        self.block, self.feedback = block, feedback

    def __call__(self, x: Tensor) -> Tensor:
        return self.block(x, self.feedback)


def chosen_stages(option: str, chosen: int | Sequence[int], stages: int, most: int = 4) -> tuple[int, ...]:
    """Indices (0 is the first stage) of the stages that an option names: so many counted from the last one (all of
    them where there are fewer), or the stages themselves from 1. ConfigError for what cannot be."""
    if isinstance(chosen, int):
        if not 0 <= chosen <= most:
            raise ConfigError(f"{option} = {chosen!r}: 0 to {most} stages, or a tuple of stages")
        return tuple(range(max(0, stages - chosen), stages))
    if not chosen or len(set(chosen)) != len(chosen) or not all(1 <= stage <= stages for stage in chosen):
        raise ConfigError(f"{option} = {chosen!r}: different stages from 1 to {stages}")
    return tuple(sorted(stage - 1 for stage in chosen))

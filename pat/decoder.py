"""From the maps of a sparse encoder to a dense map: holes filled, then a light UNet.

SparK's decoder, Tian et al. 2023 (arXiv 2301.03580), section 3.2 and its public code, stopped at a stride that is
asked for: that of a teacher's tokens, or of patches of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pat.align import GlobalBatchNorm2d
from pat.sparse import Visible
from pat.taps import Stage


class Densify(nn.Module):
    """A sparse map [B, channels, h, w] -> [B, width, h, w]: normalised where it is visible, a learnt token in holes."""

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__()
        self.norm = GlobalBatchNorm2d(channels)
        self.token = nn.Parameter(torch.zeros(1, channels, 1, 1))
        nn.init.trunc_normal_(self.token, std=0.02)
        self.project = nn.Conv2d(channels, width, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, visible: Visible) -> Tensor:
        size = (x.shape[2], x.shape[3])
        known = self.norm(visible.gathered(x)[:, :, None])[:, :, 0]
        hidden = visible.hidden(size)
        return self.project(visible.scattered(known, size) + self.token * hidden)


class Enlarge(nn.Module):
    """[B, width, h, w] -> [B, out, 2h, 2w]: a block of the UNet."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ConvTranspose2d(width, width, kernel_size=4, stride=2, padding=1),
            nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
            GlobalBatchNorm2d(width),
            nn.ReLU6(inplace=True),
            nn.Conv2d(width, out, kernel_size=3, padding=1, bias=False),
            GlobalBatchNorm2d(out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class Decoder(nn.Module):
    """The maps of an encoder's `stages` -> [B, channels, h, w] at `stride` pixels, which is that of a stage.

    The width is halved with each block; every stage from the last one up to that stride is added in. Raises ValueError
    where no stage has that stride, or two that follow each other do not differ by two.
    """

    def __init__(self, stages: Sequence[Stage], stride: int, width: int, channels: int) -> None:
        super().__init__()
        used = [place for place, stage in enumerate(stages) if stage.stride >= stride][::-1]
        strides = [stages[place].stride for place in used]
        if strides != [stride * 2**step for step in range(len(used))][::-1] or not used:
            raise ValueError(f"strides {', '.join(str(stage.stride) for stage in stages)}, {stride} is not among them")
        widths = [max(1, width >> step) for step in range(len(used))]
        self.places = used
        self.densify = nn.ModuleList(
            Densify(stages[place].channels, out, 3 if step else 1)
            for step, (place, out) in enumerate(zip(used, widths, strict=True))
        )
        self.enlarge = nn.ModuleList(Enlarge(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.head = nn.Conv2d(widths[-1], channels, kernel_size=1)

    def forward(self, maps: Sequence[Tensor], visible: Visible) -> Tensor:
        dense = [fill(maps[place], visible) for place, fill in zip(self.places, self.densify, strict=True)]
        x = dense[0]
        for enlarge, skip in zip(self.enlarge, dense[1:], strict=True):
            x = enlarge(x) + skip
        return self.head(x)

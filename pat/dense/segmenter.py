"""Semantic segmentation on the pyramid of a timm backbone: the levels summed at a quarter of the canvas."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pat.align import GlobalBatchNorm2d
from pat.dense.fpn import Pyramid
from pat.layouts import Size

STRIDE = 4
"""Pixels of the canvas for each cell of the logits, along each side."""


class Segmenter(Pyramid):
    """A semantic FPN (Kirillov et al. 2019) with one convolution after the sum in place of some before it.

    `num_classes` counts no void. The head's BatchNorm has the statistics of the global batch, whatever the number of
    workers; the backbone's is timm's own.
    """

    def __init__(self, backbone: nn.Module, num_classes: int, canvas: Size, *, width: int = 64) -> None:
        super().__init__(backbone, canvas, width)
        self.classify = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
            GlobalBatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, num_classes, kernel_size=1),
        )

    def head(self, levels: Sequence[Tensor], canvas: Size) -> Tensor:
        """The logits [B, C, h / 4, w / 4], float32, of a canvas (h, w)."""
        size = (canvas[0] // STRIDE, canvas[1] // STRIDE)
        maps = [x if x.shape[2:] == size else F.interpolate(x, size, mode="bilinear") for x in levels]
        return self.classify(sum(maps[1:], maps[0])).float()

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, h, w] to logits [B, C, h / 4, w / 4]."""
        return self.head(self.pyramid(self.taps(images).maps), (images.shape[2], images.shape[3]))

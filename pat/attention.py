"""Region-aware attention (RAA): every stage of the student sees every region of every other stage.

PAT (Perspective-Aware Teaching, ICCV 2025, arXiv 2501.08885), section 3.2: softmax(Q K^T / sqrt(d)) V over the regions
of all stages, queries, keys and values all from the student.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pat.align import Shape, resize
from pat.config import ConfigError


def region_counts(regions: int | Sequence[int], stages: int) -> list[int]:
    """Regions per stage. A total is shared evenly, what remains goes to the first stages."""
    counts = (
        [regions // stages + (stage < regions % stages) for stage in range(stages)]
        if isinstance(regions, int)
        else list(regions)
    )
    if len(counts) != stages or min(counts) < 1:
        raise ConfigError(f"regions = {regions!r}: a total of at least {stages}, or {stages} positive counts")
    return counts


def grid(count: int, height: int, width: int) -> tuple[int, int]:
    """The h x w = count grid whose cells are nearest to square on a map of height x width."""
    shapes = [(h, count // h) for h in range(1, count + 1) if count % h == 0]
    return min(shapes, key=lambda shape: (abs(math.log(height * shape[1] / (width * shape[0]))), shape))


class RegionAttention(nn.Module):
    """Maps [B, C_i, H_i, W_i] of all stages -> region maps [B, dim, h_i, w_i] of all stages.

    `regions` is the total number of regions (N_q) or a count per stage. Position is encoded per region.
    """

    position: Tensor

    def __init__(self, shapes: Sequence[Shape], regions: int | Sequence[int], dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads or dim % 2:
            raise ConfigError(f"region_dim = {dim!r}: an even multiple of heads = {heads}")
        counts = region_counts(regions, len(shapes))
        self.grids = [grid(count, h, w) for count, (_, h, w) in zip(counts, shapes, strict=True)]
        self.patches = [
            (math.ceil(h / rows), math.ceil(w / columns))
            for (rows, columns), (_, h, w) in zip(self.grids, shapes, strict=True)
        ]
        self.embed = nn.ModuleList(
            nn.Conv2d(channels, dim, kernel_size=patch, stride=patch)
            for patch, (channels, _, _) in zip(self.patches, shapes, strict=True)
        )
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * dim, bias=False)
        self.heads = heads
        self.register_buffer("position", sinusoids(sum(counts), dim), persistent=False)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        tokens = torch.cat([self._embed(stage, x) for stage, x in enumerate(maps)], dim=1)  # [B, N, D]
        tokens = self.norm(tokens)
        q = self._split_heads(self.to_q(tokens) + self.position)
        k, v = self.to_kv(tokens).chunk(2, dim=-1)
        out = F.scaled_dot_product_attention(q, self._split_heads(k + self.position), self._split_heads(v))
        out = out.transpose(1, 2).flatten(2)  # [B, N, D]
        parts = out.split([rows * columns for rows, columns in self.grids], dim=1)
        return [part.transpose(1, 2).unflatten(2, shape) for part, shape in zip(parts, self.grids, strict=True)]

    def _embed(self, stage: int, x: Tensor) -> Tensor:
        """One stage's regions as tokens [B, rows * columns, D]; the map is stretched to whole patches first."""
        (rows, columns), (height, width) = self.grids[stage], self.patches[stage]
        stretched = resize(x, (rows * height, columns * width))
        return self.embed[stage](stretched).flatten(2).transpose(1, 2)

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, N, D / heads]


def sinusoids(length: int, dim: int) -> Tensor:
    """Sinusoidal positions [length, dim] (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)

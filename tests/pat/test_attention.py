"""Region-aware attention."""

import math

import pytest
import torch

from pat.attention import RegionAttention, grid, region_counts, sinusoids
from pat.config import ConfigError

SHAPES = [(4, 16, 16), (6, 8, 8), (8, 4, 4), (10, 2, 2)]


def maps(batch: int, shapes: list[tuple[int, int, int]] = SHAPES) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, *shape, generator=generator) for shape in shapes]


def test_permuting_the_batch_permutes_the_output() -> None:
    attention = RegionAttention(SHAPES, 16, dim=16, heads=4)
    order = torch.tensor([3, 0, 4, 1, 2])
    inputs = maps(5)
    for whole, permuted in zip(attention(inputs), attention([x[order] for x in inputs]), strict=True):
        torch.testing.assert_close(whole[order], permuted, rtol=1e-6, atol=1e-6)


def test_any_sum_of_grids() -> None:
    attention = RegionAttention(SHAPES, (4, 9, 16, 25), dim=8, heads=2)
    assert [tuple(x.shape) for x in attention(maps(2))] == [(2, 8, 2, 2), (2, 8, 3, 3), (2, 8, 4, 4), (2, 8, 5, 5)]
    total = RegionAttention(SHAPES, 54, dim=8, heads=2)
    assert sum(x.shape[2] * x.shape[3] for x in total(maps(2))) == 54


def test_non_square_maps_get_matching_grids() -> None:
    attention = RegionAttention([(4, 8, 16), (4, 4, 8), (4, 2, 4)], 24, dim=8, heads=2)
    assert [tuple(x.shape[2:]) for x in attention(maps(1, [(4, 8, 16), (4, 4, 8), (4, 2, 4)]))] == [(2, 4)] * 3


def test_attention_is_the_formula() -> None:
    """softmax(Q K^T / sqrt(d)) V over all regions, head by head, as loops."""
    attention = RegionAttention(SHAPES, 8, dim=4, heads=2)
    inputs = maps(1)
    with torch.no_grad():
        found = torch.cat([x.flatten(2) for x in attention(inputs)], dim=2)[0].T  # [N, D]
        tokens = torch.cat([attention._embed(i, x) for i, x in enumerate(inputs)], dim=1)
        tokens = attention.norm(tokens)[0]
        q = attention.to_q(tokens) + attention.position
        k, v = attention.to_kv(tokens).chunk(2, -1)
        k = k + attention.position
        for head in range(2):
            part = slice(2 * head, 2 * head + 2)
            for n in range(8):
                scores = [math.exp(float(q[n, part] @ k[m, part]) / math.sqrt(2)) for m in range(8)]
                expected = sum(s * v[m, part] for m, s in enumerate(scores)) / sum(scores)
                torch.testing.assert_close(found[n, part], expected, rtol=1e-4, atol=1e-5)


def test_every_region_sees_every_stage() -> None:
    attention = RegionAttention(SHAPES, 8, dim=4, heads=2)
    inputs = [x.requires_grad_() for x in maps(1)]
    attention(inputs)[0].sum().backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in inputs)


def test_counts_and_grids() -> None:
    assert region_counts(64, 4) == [16] * 4
    assert region_counts(10, 4) == [3, 3, 2, 2]
    assert grid(16, 7, 7) == (4, 4) and grid(8, 8, 16) == (2, 4) and grid(8, 16, 8) == (4, 2)
    for bad in (3, (1, 2), (1, 2, 3, 0)):
        with pytest.raises(ConfigError, match="regions"):
            region_counts(bad, 4)
    with pytest.raises(ConfigError, match="region_dim"):
        RegionAttention(SHAPES, 16, dim=6, heads=4)


def test_positions_differ() -> None:
    positions = sinusoids(50, 8)
    assert torch.cdist(positions, positions).add(torch.eye(50) * 9).min() > 1e-3

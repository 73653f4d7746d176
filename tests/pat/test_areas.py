"""Distinctive areas: peaks and boxes against a slow literal version, mirrored, and at the edges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pat.areas import AreaHead, Areas, area_mask, mutual
from pat.losses import area_loss

shapes = st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7))


def found(images: int, height: int, width: int, seed: int) -> Areas:
    """Random heat without ties, boxes of 0 to 4 cells, offsets of both signs."""
    generator = torch.Generator().manual_seed(seed)
    heat, *rest = torch.rand(5, images, height, width, generator=generator)
    sizes, offsets = torch.stack(rest, dim=1).chunk(2, dim=1)
    return Areas(heat[:, None], 4 * sizes, 2 * offsets - 1)


def literal_mask(areas: Areas, count: int) -> Tensor:
    images, _, height, width = areas.heat.shape
    mask = torch.zeros(images, 1, height, width, dtype=torch.bool)
    for b in range(images):
        heat = areas.heat[b, 0].tolist()
        peaks = []
        for i in range(height):
            for j in range(width):
                near = [
                    heat[a][c]
                    for a in range(max(0, i - 1), min(height, i + 2))
                    for c in range(max(0, j - 1), min(width, j + 2))
                ]
                if heat[i][j] == max(near):
                    peaks.append((heat[i][j], i, j))
        for _, i, j in sorted(peaks, reverse=True)[:count]:
            (tall, wide), (down, right) = areas.size[b, :, i, j].tolist(), areas.offset[b, :, i, j].tolist()
            for a in range(height):
                for c in range(width):
                    if abs(a - i - down) < tall / 2 + 0.5 and abs(c - j - right) < wide / 2 + 0.5:
                        mask[b, 0, a, c] = True
    return mask


@given(shapes, st.integers(1, 9), st.integers(0, 10_000))
@settings(max_examples=80, deadline=None)
def test_masks_are_unions_of_boxes_at_the_hottest_peaks(shape: tuple[int, int, int], count: int, seed: int) -> None:
    areas = found(*shape, seed)
    assert torch.equal(area_mask(areas, count), literal_mask(areas, count))


@given(shapes, st.integers(1, 9), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_mirrored_maps_have_mirrored_masks(shape: tuple[int, int, int], count: int, seed: int) -> None:
    areas = found(*shape, seed)
    for axis, turned in ((2, [-1.0, 1.0]), (3, [1.0, -1.0])):
        offset = areas.offset.flip(axis) * torch.tensor(turned)[:, None, None]
        mirrored = Areas(areas.heat.flip(axis), areas.size.flip(axis), offset)
        assert torch.equal(area_mask(mirrored, count), area_mask(areas, count).flip(axis))


def test_edges_of_masks() -> None:
    """One peak that is larger than the map, one cell, more boxes than cells, level heat."""
    large = Areas(torch.rand(1, 1, 2, 5), torch.full((1, 2, 2, 5), 99.0), torch.zeros(1, 2, 2, 5))
    assert area_mask(large, 1).all()
    cell = Areas(torch.full((2, 1, 1, 1), 0.0), torch.zeros(2, 2, 1, 1), torch.zeros(2, 2, 1, 1))
    assert area_mask(cell, 8).all()
    away = Areas(cell.heat, cell.size, torch.full((2, 2, 1, 1), 7.0))
    assert not area_mask(away, 8).any()
    level = Areas(torch.full((1, 1, 3, 4), 0.5), torch.full((1, 2, 3, 4), 0.5), torch.zeros(1, 2, 3, 4))
    assert area_mask(level, 5).sum() == 5, "where all cells are alike each is a peak"


def test_the_mean_of_what_two_maps_show() -> None:
    one, other = found(2, 3, 4, 1), found(2, 3, 4, 2)
    both = mutual(one, other)
    torch.testing.assert_close(both.stacked(), (one.stacked() + other.stacked()) / 2)
    assert both.heat.shape == (2, 1, 3, 4) and both.size.shape == both.offset.shape == (2, 2, 3, 4)


def test_a_head_finds_heat_sizes_and_offsets_of_any_sign() -> None:
    torch.manual_seed(0)
    areas = AreaHead(6, 5)(torch.randn(4, 6, 7, 3) * 20)
    assert areas.heat.shape == (4, 1, 7, 3) and areas.size.shape == areas.offset.shape == (4, 2, 7, 3)
    assert 0 < areas.heat.min() < 0.5 < areas.heat.max() < 1
    assert areas.size.min() > 0 and areas.offset.min() < 0 < areas.offset.max()
    with torch.autocast("cpu", torch.bfloat16):
        assert AreaHead(6, 5)(torch.randn(1, 6, 2, 2)).stacked().dtype == torch.float32


@given(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)), st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_the_loss_in_areas_is_the_formula(shape: tuple[int, int, int, int], seed: int) -> None:
    """Value and gradient, by loops; an empty mask is 0, a full one the mean square."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(shape, generator=generator, dtype=torch.float64) * 9 for _ in range(2))
    mask = torch.rand(shape[0], 1, *shape[2:], generator=generator) < 0.5
    student = student.float().requires_grad_()
    total, gradient = 0.0, torch.zeros(shape, dtype=torch.float64)
    for place in torch.cartesian_prod(*map(torch.arange, shape)).view(-1, 4).tolist():
        b, c, i, j = place
        if mask[b, 0, i, j]:
            gap = student[b, c, i, j].item() - teacher[b, c, i, j].item()
            total += gap**2 / student.numel()
            gradient[b, c, i, j] = 2 * gap / student.numel()
    loss = area_loss(student, teacher, mask)
    (own,) = torch.autograd.grad(loss, student)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(total, rel=1e-5, abs=1e-7)
    torch.testing.assert_close(own.double(), gradient, rtol=1e-5, atol=1e-6)
    assert area_loss(student, teacher, torch.zeros_like(mask)) == 0

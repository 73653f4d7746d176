"""Losses against slow literal versions of their formulas."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pat.losses import cross_entropy, hcl_loss, kd_loss
from tests.pat.strategies import Rows, log_softmax, matrices


def literal_kd(student: Tensor, teacher: Tensor, temperature: float) -> float:
    total = 0.0
    for s_row, t_row in zip(student.double().tolist(), teacher.double().tolist(), strict=True):
        log_s, log_t = log_softmax(s_row, temperature), log_softmax(t_row, temperature)
        total += sum(math.exp(b) * (b - a) for a, b in zip(log_s, log_t, strict=True))
    return temperature**2 * total / len(student)


def literal_hcl(student: Tensor, teacher: Tensor) -> float:
    """Loops over every pixel and every averaging window."""
    batch, channels, height, width = student.shape
    total = weights = 0.0
    weight = 1.0
    for level in (None, 4, 2, 1):
        if level is None:
            rows, columns = height, width
        elif level >= min(height, width):
            continue
        else:
            rows = columns = level
            weight /= 2
        square = 0.0
        for b in range(batch):
            for c in range(channels):
                for i in range(rows):
                    for j in range(columns):
                        top, bottom = i * height // rows, math.ceil((i + 1) * height / rows)
                        left, right = j * width // columns, math.ceil((j + 1) * width / columns)
                        window = (student - teacher).double()[b, c, top:bottom, left:right]
                        square += window.mean().item() ** 2
        total += weight * square / (batch * channels * rows * columns)
        weights += weight
    return total / weights


@given(matrices(), st.floats(0.25, 20), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_kd_is_the_formula(values: Rows, temperature: float, seed: int) -> None:
    student = torch.tensor(values)
    teacher = torch.randn(student.shape, generator=torch.Generator().manual_seed(seed)) * 3
    found, expected = kd_loss(student, teacher, temperature).item(), literal_kd(student, teacher, temperature)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4 * temperature**2)
    assert found >= -1e-4


def test_kd_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert kd_loss(student, teacher, 1.0).item() == pytest.approx(expected, rel=1e-6)


def test_kd_of_identical_logits_is_zero_and_flat() -> None:
    values = torch.randn(3, 5, requires_grad=True)
    loss = kd_loss(values, values.detach(), 2.0)
    loss.backward()
    assert abs(loss.item()) < 1e-6
    assert values.grad is not None and values.grad.abs().max() < 1e-6


@pytest.mark.parametrize("shape", [(2, 3, 7, 7), (1, 2, 8, 5), (2, 1, 1, 1), (2, 2, 4, 4), (1, 2, 3, 9)])
def test_hcl_is_the_formula(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(sum(shape))
    student, teacher = (torch.randn(shape, generator=generator) for _ in range(2))
    assert hcl_loss(student, teacher).item() == pytest.approx(literal_hcl(student, teacher), rel=1e-5)


def test_losses_are_float32_on_half_inputs() -> None:
    half = torch.randn(4, 5, dtype=torch.bfloat16)
    targets = torch.full((4, 5), 0.2)
    maps = torch.randn(2, 3, 8, 8, dtype=torch.bfloat16)
    for loss in (kd_loss(half, half + 1, 4.0), cross_entropy(half, targets), hcl_loss(maps, -maps)):
        assert loss.dtype == torch.float32 and torch.isfinite(loss)

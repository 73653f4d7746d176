"""A precision that the CPU is slow in is said, with what was measured."""

from __future__ import annotations

import pytest
import torch

import pat.precision
from pat.precision import Times, measured, slow_bf16


def test_what_is_slow_is_said_in_one_line() -> None:
    line = slow_bf16("bf16", Times(0.010, 0.052))
    assert "5.2 times as long as for fp32 (52 ms against 10 ms" in line and "\n" not in line
    assert slow_bf16("bf16", Times(0.010, 0.012)) == "" == slow_bf16("fp32", Times(0.010, 0.052))


def test_it_is_measured_within_a_second_and_nothing_is_drawn() -> None:
    before = torch.get_rng_state()
    found = measured(0.02)
    assert found.fp32 > 0 and found.bf16 > 0 and torch.equal(torch.get_rng_state(), before)


def test_fp32_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pat.precision, "measured", lambda: 1 / 0)
    assert slow_bf16("fp32") == ""

"""FLOPs of a PAT step, counted, against its arithmetic: 1 multiply-add = 2 FLOP, per image."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from timm.layers import set_fused_attn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from pat.methods import Method
from tests.bench.compare import EXACT
from tests.bench.pairs import PAIRS, short, take_apart

EXPECTED_FLOOR_A = {"resnet18": 37.8, "deit_tiny_patch16_224": 34.2, "mobilenetv2_100": 77.2}
"""GFLOP of student step + two teacher forwards + activation backward, counted independently of this code base."""
BATCH = 2
TOLERANCE = EXACT
"""Counted on the device `meta` from shapes alone, which no machine changes."""


def _convolution_backward(
    grad_shape: Any, x_shape: Any, w_shape: Any, _b: Any, _s: Any, _p: Any, _d: Any, transposed: bool,
    _op: Any, _groups: int, output_mask: Any, out_shape: Any = None, **_: Any,
) -> int:  # fmt: skip
    """The counter's own formula forgets to divide weight gradients by the groups: count forward once per gradient."""
    return conv_flop_count(x_shape, w_shape, grad_shape, transposed=transposed) * sum(output_mask[:2])


def gflop(call: Callable[[], Any]) -> float:
    """GFLOP of `call` per image of the batch."""
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward}
    )
    set_fused_attn(False)
    with counter, sdpa_kernel(SDPBackend.MATH):
        call()
    return counter.get_total_flops() / BATCH / 1e9


def prompt_arithmetic(method: Method) -> float:
    """GFLOP an image of all prompt blocks, forward and backward, from their shapes alone.

    Without the gradient of the first block's input and of the feedback, which nothing needs.
    """
    total = 0.0
    stages = method.teacher_taps.stages
    for i in method.prompted_stages:
        c, positions = stages[i].in_channels, math.prod(stages[i].in_size)
        groups = math.gcd(4, c)
        first = 2 * c * c
        rest = 25 * c * c + 2 * c * c + 2 * c * c // groups + 25 * c + c * c
        gate = 4 * c * max(c // 16, 1)
        # Forward and weight gradient of the first convolution; its input gradient reaches x and the feedback at once.
        macs = positions * (2 * first + (first if i != method.prompted_stages[0] or _aligns(method, i) else 0))
        macs += 3 * (positions * rest + gate)
        if _aligns(method, i):
            macs += 2 * stages[i].channels * c * math.prod(stages[i].size)
        total += 2 * macs / 1e9
    return total


def _aligns(method: Method, stage: int) -> bool:
    """Whether the feedback of a stage is projected to the shape of what enters it."""
    return any(True for _ in method.prompts[str(stage)].feedback.parameters())


def attention_arithmetic(method: Method) -> float:
    """GFLOP an image of region attention and aligners, forward and backward, from their shapes alone."""
    attention, dim = method.attention, method.attention.to_q.in_features
    counts = [rows * columns for rows, columns in attention.grids]
    tokens = sum(counts)
    macs = tokens * 3 * dim * dim + 2 * tokens * tokens * dim
    for count, patch, stage in zip(counts, attention.patches, method.student_taps.stages, strict=True):
        macs += count * math.prod(patch) * stage.channels * dim
    macs += sum(count * dim * s.channels for count, s in zip(counts, method.teacher_taps.stages, strict=True))
    return 3 * 2 * macs / 1e9


def report() -> dict[str, float]:
    """Prints counted against expected FLOPs for the three pairs, and what prompts in late stages alone cost."""
    print("GFLOP an image            floor A  expected   diff |  PAT step  arithmetic   diff | prompt_depth 2, 1")
    ratios = {}
    for teacher, student in PAIRS:
        method, pieces = take_apart(teacher, student, BATCH, "meta")
        floor_a = sum(gflop(piece) for piece in pieces.floor_a())
        step = gflop(pieces.step)
        arithmetic = floor_a + prompt_arithmetic(method) + attention_arithmetic(method)
        expected = EXPECTED_FLOOR_A[student]
        late = {
            depth: gflop(take_apart(teacher, student, BATCH, "meta", prompt_depth=depth, feedback="current")[1].step)
            for depth in (2, 1)
        }
        pair = short(teacher, student)
        print(
            f"{pair:24} {floor_a:8.1f} {expected:9.1f}"
            f" {floor_a / expected - 1:+6.1%} | {step:9.1f} {arithmetic:11.1f} {step / arithmetic - 1:+6.1%} | "
            + ", ".join(f"{value:.1f}" for value in late.values())
        )
        ratios[f"{pair}/floor A over expected"] = floor_a / expected
        ratios[f"{pair}/step over arithmetic"] = step / arithmetic
        ratios |= {f"{pair}/prompt_depth {depth} over the default": value / step for depth, value in late.items()}
    return ratios

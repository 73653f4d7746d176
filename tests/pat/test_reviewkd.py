"""ReviewKD: its fusion against a slow literal version, its warm-up."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pat.align import GlobalBatchNorm2d
from pat.clock import Clock, WarmUp
from pat.config import ConfigError
from pat.fusion import WIDTH, Fusion
from pat.losses import cross_entropy, hcl_loss
from pat.methods import create_method
from pat.models import create_model
from tests import tiny

STUDENT = [(3, 8, 6), (4, 4, 3), (6, 2, 2), (5, 2, 1)]
TEACHER = [(2, 5, 7), (4, 5, 7), (7, 3, 2), (3, 1, 1)]
"""Channels, heights and widths; neither square nor of common sizes."""


def maps(shapes: list[tuple[int, int, int]], seed: int, images: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(images, *shape, generator=generator, dtype=torch.float64) for shape in shapes]


def fusion(student: list[tuple[int, int, int]], teacher: list[tuple[int, int, int]], common: bool) -> Fusion:
    """In float64 and eval mode, its norms anything but the identity."""
    torch.manual_seed(1)
    made = Fusion(student, teacher, common).double().eval()
    for module in made.modules():
        if isinstance(module, GlobalBatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return made


def nearest(x: Tensor, height: int, width: int) -> Tensor:
    out = x.new_zeros(*x.shape[:2], height, width)
    for i in range(height):
        for j in range(width):
            out[:, :, i, j] = x[:, :, i * x.shape[2] // height, j * x.shape[3] // width]
    return out


def convolved(x: Tensor, sequence: Any) -> Tensor:
    """A convolution by loops over its cells, zeros outside, and the norm after it."""
    weight, norm = sequence[0].weight, sequence[1]
    reach = weight.shape[-1] // 2
    height, width = x.shape[2:]
    out = x.new_zeros(len(x), len(weight), height, width)
    for i in range(height):
        for j in range(width):
            for a in range(-reach, reach + 1):
                for c in range(-reach, reach + 1):
                    if 0 <= i + a < height and 0 <= j + c < width:
                        out[:, :, i, j] += x[:, :, i + a, j + c] @ weight[:, :, a + reach, c + reach].T
    shift = (out - norm.running_mean[:, None, None]) / (norm.running_var + norm.eps).sqrt()[:, None, None]
    return shift * norm.weight[:, None, None] + norm.bias[:, None, None]


def literal(made: Fusion, student: list[Tensor], teacher: list[Tensor], common: bool) -> list[Tensor]:
    """Chen et al. 2021, section 3: from the deepest map to the shallowest."""
    lead = len(student) - len(teacher)
    chosen = [student[max(0, place + lead)] for place in range(len(teacher))]
    sizes = [tuple(x.shape[2:]) for x in teacher]
    if not common:
        chosen, sizes = (
            [*chosen, chosen[-1].flatten(2).sum(2)[:, :, None, None] / chosen[-1][0, 0].numel()],
            [*sizes, (1, 1)],
        )
    fused: list[Tensor] = []
    residual: Any = None
    for block, x, size in reversed([*zip(made, chosen, sizes, strict=True)]):
        x = convolved(x, block.enter)
        if residual is not None:
            residual = nearest(residual, *x.shape[2:])
            scores = torch.einsum("oc,bchw->bohw", block.attend.weight[:, :, 0, 0], torch.cat([x, residual], 1))
            gates = 1 / (1 + (-(scores + block.attend.bias[:, None, None])).exp())
            x = x * gates[:, :1] + residual * gates[:, 1:]
        residual = nearest(x, *size)
        fused = [convolved(residual, block.leave), *fused]
    return fused


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize(
    ("few", "many"), [(slice(None), slice(None)), (slice(1, None), slice(None)), (slice(None), slice(1, None))]
)
def test_fusion_is_the_formula(common: bool, few: slice, many: slice) -> None:
    """Value and gradient; models of three stages and of four."""
    shapes = STUDENT[few], TEACHER[many]
    made = fusion(*shapes, common)
    student, teacher = (maps(shape, seed) for seed, shape in enumerate(shapes))
    for x in student:
        x.requires_grad_()
    found, expected = made(student, teacher), literal(made, student, teacher, common)
    assert [tuple(x.shape[1:]) for x in found] == shapes[1] + ([] if common else [(3, 1, 1)])
    inputs = [*student, *made.parameters()]
    gradients = []
    for outcome in (found, expected):
        total = torch.stack([(x * torch.arange(x.numel()).view_as(x)).sum() for x in outcome]).sum()
        gradients.append(torch.autograd.grad(total, inputs, allow_unused=True))
    for one, other in (*zip(found, expected, strict=True), *zip(*gradients, strict=True)):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_the_teacher_s_side_and_the_width() -> None:
    teacher = maps(TEACHER, 3)
    made = Fusion(STUDENT, TEACHER, common=False)
    *same, pooled = made.targets(teacher)
    assert all(map(torch.equal, same, teacher)) and torch.allclose(pooled, teacher[-1].mean((2, 3), keepdim=True))
    assert len(Fusion(STUDENT, TEACHER, common=True).targets(teacher)) == 4
    assert made[0].enter[0].out_channels == 5
    wide = Fusion([*STUDENT[:3], (900, 1, 1)], TEACHER, common=False)
    assert {block.enter[0].out_channels for block in wide} == {WIDTH} == {512}


def build(**options: Any) -> Any:
    models = create_model(tiny.BATCHNORM, 10, 32), create_model(tiny.VIT, 10, 32)
    return create_method("reviewkd", *models, tiny.task(32, torch.arange(24) % 10), **options)


def test_the_weight_is_let_in_over_epochs() -> None:
    method, images, targets = build(weight=2.0, warmup_epochs=4), torch.randn(8, 3, 32, 32), torch.eye(10)[:8]
    for epoch, share in ((None, 1.0), (0, 0.25), (2, 0.75), (3, 1.0), (9, 1.0)):
        if epoch is not None:
            method.begin_epoch(epoch)
        losses = method(images, targets)
        torch.testing.assert_close(losses["loss"], losses["ce"] + 2 * share * losses["hint"])


def test_the_loss_is_that_of_the_fused_maps() -> None:
    method, images, targets = build(warmup_epochs=0).eval(), torch.randn(4, 3, 32, 32), torch.eye(10)[:4]
    own = method.student_taps(images)
    theirs = method.teacher_taps(method.for_teacher(images)).maps
    fused = method.align(own.maps, theirs)
    assert len(fused) == 5
    hint = sum(hcl_loss(x, target) for x, target in zip(fused, method.align.targets(theirs), strict=True))
    torch.testing.assert_close(method(images, targets)["loss"], cross_entropy(own.logits, targets) + hint)


def test_what_tells_how_far_training_is() -> None:
    clock = Clock()
    assert [clock().item() for _ in range(3)] == [0, 1, 2] and clock.eval()() == 3 and clock() == 3
    at_once, never = WarmUp(0), WarmUp(3)
    at_once.begin(0)
    assert at_once.factor == never.factor == 1 and not at_once.state_dict(), "the loop tells it again when it goes on"
    with pytest.raises(ConfigError, match="warmup_epochs = -1: not negative"):
        build(warmup_epochs=-1)

"""Moments of maps, losses over them, and what is compared of a stage, against slow literal versions in float64."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from pat.align import pooled
from pat.losses import hcl_loss, hint_loss, over_stages
from pat.moments import Asked, all_moments, moments, over, restandardised
from pat.targets import Compared
from pat.targets import compare as compare_stages

SHAPES = [(3, 2, 4, 4), (2, 3, 5, 7), (1, 1, 1, 1), (1, 4, 3, 2), (4, 1, 2, 6)]


def compare(
    student: Tensor,
    prompted: Tensor,
    plain: Tensor,
    shown: Tensor | None = None,
    grid: tuple[int, ...] = (),
    restandardise: bool = False,
) -> Compared:
    """Of a single stage."""
    places, grids = [] if shown is None else [shown], [grid] if grid else []
    (found,) = compare_stages([student], [prompted], [plain], places, grids, restandardise)
    return found


def maps(shape: tuple[int, ...], seed: int, offset: float = 0.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + offset


def mask(shape: tuple[int, ...]) -> Tensor:
    """The upper left corner of each image, of another size for each."""
    rows, columns = torch.arange(shape[2])[None, :, None], torch.arange(shape[3])[None, None]
    size = torch.arange(shape[0])[:, None, None]
    return ((rows <= size % shape[2]) & (columns <= (size + 1) % shape[3] + 1))[:, None]


def elements(x: Tensor, channel: int, shown: Tensor | None) -> list[Tensor]:
    """Those of a channel that show something, one by one."""
    places = itertools.product(range(len(x)), range(x.shape[2]), range(x.shape[3]))
    return [x[b, channel, i, j] for b, i, j in places if shown is None or shown[b, 0, i, j]]


def mean(values: Iterable[Tensor]) -> Tensor:
    listed = list(values)
    return sum(listed, torch.zeros((), dtype=torch.float64)) / len(listed)


def literal_moments(x: Tensor, shown: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
    means, variances = [], []
    for channel in range(x.shape[1]):
        found = elements(x, channel, shown)
        means.append(mean(found))
        variances.append(mean((value - means[-1]) ** 2 for value in found))
    return means, variances


def literal_mse(a: Tensor, b: Tensor) -> Tensor:
    return mean((x - y) ** 2 for x, y in zip(a.flatten(), b.flatten(), strict=True))


def same(found: Tensor, expected: Tensor, leaves: tuple[Tensor, Tensor], rel: float = 1e-5) -> None:
    """Equal values, and equal gradients in what was given in float32 and in float64."""
    torch.testing.assert_close(found.double(), expected, rtol=rel, atol=rel)
    (own,), (theirs,) = (
        torch.autograd.grad(value, leaf) for value, leaf in zip((found, expected), leaves, strict=True)
    )
    torch.testing.assert_close(own.double(), theirs, rtol=1e-4, atol=rel * (1 + float(theirs.abs().max())))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_moments_are_the_formula(shape: tuple[int, ...], masked: bool, offset: float) -> None:
    x, shown = maps(shape, 1, offset), mask(shape) if masked else None
    single, double = x.clone().requires_grad_(), x.double().requires_grad_()
    found, (means, variances) = moments(single, shown), literal_moments(double, shown)
    torch.testing.assert_close(found.mean.double(), torch.stack(means), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.variance.double(), torch.stack(variances), rtol=1e-5, atol=1e-6)
    square = mean(m * m + v for m, v in zip(means, variances, strict=True))
    torch.testing.assert_close(found.square.double(), square, rtol=1e-5, atol=1e-6)
    same(found.variance.mean(), mean(variances), (single, double))


@pytest.mark.parametrize("value", [0.0, 3.0, 1e6, 0.1])
def test_what_varies_by_rounding_alone_does_not_vary(value: float) -> None:
    flat = torch.full((3, 2, 5, 7), value)
    for shown in (None, mask(flat.shape)):
        assert moments(flat, shown).spread == 0
    almost = flat.clone()
    almost[0, 0, 0, 0] += 1e-3 * value + 1e-3
    assert moments(almost).spread > 0
    assert moments(maps((2, 3, 4, 4), 0, 1e3)).spread == pytest.approx(4, rel=0.3)


def test_over_a_variance_of_zero_nothing_counts() -> None:
    value = torch.tensor(5.0, requires_grad=True)
    assert over(value, torch.tensor(0.0)) == 0 and over(value, torch.tensor(2.0)) == 2.5
    (gradient,) = torch.autograd.grad(over(value, torch.tensor(0.0)), value)
    assert gradient == 0


def test_stages_are_summed_or_the_mean_of_the_unexplained_shares() -> None:
    losses, spreads = [torch.tensor(x) for x in (1.0, 2.0, 6.0)], [torch.tensor(x) for x in (2.0, 0.0, 3.0)]
    assert over_stages(losses) == 9
    assert over_stages(losses, spreads) == pytest.approx((0.5 + 0 + 2) / 3)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_a_feature_loss_over_the_variance_knows_no_scale(factor: float) -> None:
    """The mean of the target explains nothing: 1 for each stage, whatever its scale and offset."""
    stages = [maps((4, 3, 4, 4), seed, 5.0) for seed in range(3)]
    means = [x.mean((0, 2, 3), keepdim=True).expand_as(x) for x in stages]
    own = [factor * (1 + i) * x for i, x in enumerate(stages)]
    guessed = [factor * (1 + i) * x for i, x in enumerate(means)]
    spreads = [moments(x).spread for x in own]
    assert over_stages([*map(hint_loss, guessed, own)], spreads).item() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_restandardised_maps_have_the_other_s_moments(shape: tuple[int, ...]) -> None:
    x, other = maps(shape, 1, 3.0), maps(shape, 2, -1.0) * 4
    own, like = moments(x), moments(other)
    found = moments(restandardised(x, own, like))
    torch.testing.assert_close(found.mean, like.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.variance, like.variance, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(restandardised(x, own, own), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[0] * shape[2] > 1])
def test_restandardised_maps_are_the_formula(shape: tuple[int, ...]) -> None:
    """With the gradient through their own moments: what only shrinks a map gets none."""
    x, other = maps(shape, 1, 3.0), maps(shape, 2, -1.0)
    single, double = x.clone().requires_grad_(), x.double().requires_grad_()
    own, like = literal_moments(double, None), literal_moments(other.double(), None)
    ridge = 1e-5 * mean(like[1])
    literal = torch.stack(
        [
            (double[:, c] - own[0][c]) * ((like[1][c] + ridge) / (own[1][c] + ridge)) ** 0.5 + like[0][c]
            for c in range(shape[1])
        ],
        dim=1,
    )
    found = restandardised(single, moments(single), moments(other))
    weights = maps(shape, 3)
    same((found * weights).sum(), (literal * weights.double()).sum(), (single, double), rel=1e-4)
    scale = torch.ones((), requires_grad=True)
    shrunk = restandardised(single.detach() * scale, moments(single.detach() * scale), moments(other))
    (gradient,) = torch.autograd.grad(hcl_loss(shrunk, other), scale)
    assert abs(gradient) < 1e-3


def test_a_map_without_variance_is_restandardised_to_a_finite_one() -> None:
    flat, other = torch.full((2, 3, 4, 4), 2.0, requires_grad=True), maps((2, 3, 4, 4), 1)
    for x, like in ((flat, other), (other.requires_grad_(), flat.detach()), (flat, flat.detach())):
        found = restandardised(x, moments(x), moments(like))
        (gradient,) = torch.autograd.grad(found.sum(), x)
        assert torch.isfinite(found).all() and torch.isfinite(gradient).all()


def cells(x: Tensor, rows: int, columns: int) -> Tensor:
    """Averages over a grid, window by window; a side that is not finer stays."""
    height, width = x.shape[2:]
    rows, columns = min(rows, height), min(columns, width)
    found = torch.zeros(*x.shape[:2], rows, columns, dtype=x.dtype)
    for b, c, i, j in itertools.product(range(len(x)), range(x.shape[1]), range(rows), range(columns)):
        top, bottom = i * height // rows, -(-(i + 1) * height // rows)
        left, right = j * width // columns, -(-(j + 1) * width // columns)
        found[b, c, i, j] = mean(x[b, c, top:bottom, left:right].double().flatten())
    return found


@pytest.mark.parametrize("grid", [(2, 2), (4, 4), (1, 3), (8, 8)])
@pytest.mark.parametrize("shape", SHAPES)
def test_pooled_maps_are_averages_over_cells(shape: tuple[int, ...], grid: tuple[int, int]) -> None:
    x = maps(shape, 0)
    torch.testing.assert_close(pooled(x, grid), cells(x, *grid))


@pytest.mark.parametrize("restandardise", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("grid", [(), (2, 2)])
@pytest.mark.parametrize("shape", [(3, 2, 4, 4), (2, 3, 5, 7)])
def test_what_is_compared(shape: tuple[int, ...], grid: tuple[int, ...], masked: bool, restandardise: bool) -> None:
    student, prompted, plain = (maps(shape, seed, seed) for seed in range(3))
    shown = mask(shape) if masked else None
    found = compare(student, prompted, plain, shown, grid, restandardise)
    own, like = (moments(x, shown) for x in (prompted, plain))
    target = restandardised(prompted, own, like) if restandardise else prompted
    three = [x if shown is None else x * shown for x in (student, target, plain)]
    if grid:
        three = [cells(x, *grid) for x in three]
        shown = cells(shown.float(), *grid) > 0 if shown is not None else None
    torch.testing.assert_close(found.student, three[0])
    torch.testing.assert_close(found.target, three[1])
    at_full_size = mask(shape) if masked else None
    of_plain, of_prompted = (literal_moments(x.double(), at_full_size)[1] for x in (plain, prompted))
    moved = literal_moments((prompted - plain).double(), at_full_size)
    squares = mean(m * m + v for m, v in zip(*moved, strict=True))
    of_target, spread = (mean(literal_moments(x.double(), shown)[1]) for x in three[1:])
    torch.testing.assert_close(found.spread.double(), spread, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.kept.double(), mean(of_prompted) / mean(of_plain), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.drift.double(), squares / mean(of_plain), rtol=1e-5, atol=1e-6)
    misses = [
        mean((a - b) ** 2 for a, b in zip(*(elements(x.double(), c, shown) for x in three[:2]), strict=True))
        for c in range(shape[1])
    ]
    torch.testing.assert_close(found.explained.double(), 1 - mean(misses) / of_target, rtol=1e-5, atol=1e-5)


def test_what_the_prompts_did_at_the_edges() -> None:
    """A perfect student explains all, the mean nothing; a target without variance counts as 0."""
    plain = maps((3, 2, 4, 4), 0, 5.0)
    middle = plain.mean((0, 2, 3), keepdim=True).expand_as(plain)
    unmoved = compare(plain, plain, plain)
    assert unmoved.explained == 1 and unmoved.kept == 1 and unmoved.drift == 0
    assert compare(middle, plain, plain).explained == pytest.approx(0, abs=1e-5)
    halved = compare(plain, middle + (plain - middle) / 2, plain)
    assert halved.kept == pytest.approx(0.25, rel=1e-4) and halved.drift == pytest.approx(0.25, rel=1e-4)
    gone = compare(plain, middle, plain)
    assert gone.explained == 0 and gone.kept == 0 and gone.drift == pytest.approx(1, rel=1e-4)
    flat = torch.ones_like(plain)
    dead = compare(plain, plain, flat)
    assert dead.spread == 0 and dead.kept == 0 and dead.drift == 0
    one = compare(*(x[:1, :, :1, :1] for x in (plain, middle, plain)))
    assert all(torch.isfinite(value).all() for value in vars(one).values())
    half = compare(*(x.bfloat16() for x in (plain, middle, plain)))
    assert half.drift.dtype == torch.float32 and torch.isfinite(half.drift)


def test_drift_trains_what_was_prompted_and_not_the_plain_map() -> None:
    plain, prompted = maps((3, 2, 4, 4), 0), maps((3, 2, 4, 4), 1)
    single, double = prompted.clone().requires_grad_(), prompted.double().requires_grad_()
    spread = mean(literal_moments(plain.double(), None)[1])
    same(compare(plain, single, plain).drift, literal_mse(double, plain.double()) / spread, (single, double))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [*SHAPES, (16, 24, 8, 8)])
def test_sums_give_the_bits_of_torch_s_own(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    """Of variances that no gradient is asked of, far below the mean square too; of means but for a last bit."""
    for offset in (0.0, 1.0, 100.0):
        x = maps(shape, 1, offset).contiguous(memory_format=layout)
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        (found,) = all_moments([Asked(x, None, spread=True)])
        assert torch.equal(found.variance, variance)
        torch.testing.assert_close(found.mean, mean, rtol=2e-7, atol=0)


def test_stages_are_compared_side_by_side_as_each_alone() -> None:
    """Of other shapes, in every way; without its gradient drift is the same number."""
    shapes = [(2, 3, 5, 7), (2, 4, 4, 4)]
    student, prompted, plain = ([maps(shape, seed, seed) for shape in shapes] for seed in range(3))
    for restandardise, masked, grids in itertools.product((False, True), (False, True), ([], [(2, 2), (1, 3)])):
        shown = [mask(shape) for shape in shapes] if masked else []
        learnt = [x.clone().requires_grad_() for x in prompted]
        together = compare_stages(student, learnt, plain, shown, grids, restandardise, drift_learns=False)
        assert not any(stage.drift.requires_grad or stage.kept.requires_grad for stage in together)
        for i, stage in enumerate(together):
            places, grid = shown[i] if masked else None, grids[i] if grids else ()
            alone = compare(student[i], prompted[i], plain[i], places, grid, restandardise)
            assert all(torch.equal(value, getattr(alone, name)) for name, value in vars(stage).items())


@pytest.mark.parametrize(("restandardise", "exchanges"), [(False, 1), (True, 2)])
def test_workers_exchange_the_moments_of_all_stages_at_once(
    restandardise: bool, exchanges: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = [(2, 3, 5, 7), (2, 4, 4, 4), (2, 1, 2, 2)]
    stages = [[maps(shape, seed, seed) for shape in shapes] for seed in range(3)]
    alone = compare_stages(*stages, restandardise=restandardise)
    told: list[Tensor] = []
    monkeypatch.setattr("pat.moments.is_alone", lambda: False)
    monkeypatch.setattr("pat.moments.gather_batch", lambda rows: told.append(rows) or rows)
    found = compare_stages(*stages, restandardise=restandardise)
    assert len(told) == exchanges
    for one, other in zip(found, alone, strict=True):
        for name, value in vars(one).items():
            torch.testing.assert_close(value, getattr(other, name))

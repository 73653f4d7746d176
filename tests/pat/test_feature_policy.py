"""The nine operations against slow literal versions, and the policy that chooses among them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from pat.counter import hash64
from pat.feature_ops import DROP_EDGE, RANGES, channel_order, drawn, operate
from pat.feature_policy import FeaturePolicy

NAMES = [*RANGES]
KEY = torch.tensor(12345)


def maps(height: int = 5, width: int = 3, images: int = 3, channels: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, channels, height, width, generator=generator, dtype=torch.float64)


def only(name: str, magnitude: float) -> Tensor:
    """Amounts of which one is not 0, that share of its range."""
    return torch.tensor([magnitude * RANGES[name] if name == other else 0.0 for other in NAMES], dtype=torch.float64)


def literal_move(x: Tensor, name: str, magnitude: float, signs: list[float]) -> Tensor:
    """Each cell of the outcome is what stands, by bilinear interpolation, at the place that the operation sends it to;
    in cells from the middle of the map, 0 outside."""
    height, width = x.shape[-2:]
    out = torch.zeros_like(x)
    for image, sign in enumerate(signs):
        m = sign * magnitude * RANGES[name]
        for i, j in itertools.product(range(height), range(width)):
            u, v = j - (width - 1) / 2, i - (height - 1) / 2
            to_u, to_v = {
                "shear_x": (u + m * v, v),
                "shear_y": (u, v + m * u),
                "translate_x": (u + m * width, v),
                "translate_y": (u, v + m * height),
                "rotate": (u * math.cos(m) - v * math.sin(m), u * math.sin(m) + v * math.cos(m)),
            }[name]
            column, row = to_u + (width - 1) / 2, to_v + (height - 1) / 2
            for a, b in itertools.product(
                (math.floor(row), math.floor(row) + 1), (math.floor(column), math.floor(column) + 1)
            ):
                if 0 <= a < height and 0 <= b < width:
                    out[image, :, i, j] += x[image, :, a, b] * (1 - abs(row - a)) * (1 - abs(column - b))
    return out


def overlap(low: float, high: float, start: float, end: float) -> float:
    return max(0.0, min(high, end) - max(low, start))


def literal(x: Tensor, name: str, magnitude: float, key: Tensor, indices: Tensor) -> Tensor:
    images, channels, height, width = x.shape
    way, centre, drops, normal = (values.tolist() for values in drawn(x, key, indices))
    if name in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate"):
        return literal_move(x, name, magnitude, way)
    m, out, order = magnitude * RANGES[name], x.clone(), channel_order(channels, key).tolist()
    for b in range(images):
        values = x[b].flatten().tolist()
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        for c, i, j in itertools.product(range(channels), range(height), range(width)):
            if name == "cutout":
                top, left = (centre[b][0] - m / 2) * height, (centre[b][1] - m / 2) * width
                covered = overlap(i, i + 1, top, top + m * height) * overlap(j, j + 1, left, left + m * width)
                out[b, c, i, j] *= 1 - covered
            elif name == "noise":
                out[b, c, i, j] += m * deviation * normal[b][c][i][j]
            elif name == "channel_shuffle":
                out[b, c, i, j] = (1 - m) * x[b, c, i, j] + m * x[b, order[c], i, j]
            else:
                out[b, c, i, j] *= 1 - min(1.0, max(0.0, (m - drops[b][c]) / DROP_EDGE))
    return out


@pytest.mark.parametrize("shape", [(5, 3), (2, 7), (4, 4), (1, 1), (1, 6)])
@pytest.mark.parametrize("name", NAMES)
def test_operations_are_their_formulas(name: str, shape: tuple[int, int]) -> None:
    """Maps that are not square, single rows, single cells."""
    x = maps(*shape)
    for magnitude, key in itertools.product((0.0, 0.3, 1.0), range(3)):
        draws = torch.tensor(key), torch.tensor([4, 0, 9])
        found = operate(x, only(name, magnitude), *draws)
        torch.testing.assert_close(found, literal(x, name, magnitude, *draws), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_operations_are_differentiable_in_their_magnitudes(name: str) -> None:
    """Against differences of the literal version."""
    x, step = maps(), 1e-6
    for magnitude in (0.37, 0.81):
        draws, given = (KEY, torch.arange(3)), only(name, magnitude).requires_grad_()
        (operate(x, given, *draws) * maps(seed=1)).sum().backward()
        ends = [(literal(x, name, magnitude + d, *draws) * maps(seed=1)).sum().item() for d in (step, -step)]
        assert given.grad is not None
        gradient = given.grad[NAMES.index(name)].item() * RANGES[name]
        assert gradient == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-6)
        assert torch.isfinite(given.grad).all()


def test_nothing_is_done_at_magnitude_0() -> None:
    x = maps(14, 10).float()
    found = operate(x, torch.zeros(9), KEY, torch.arange(3))
    torch.testing.assert_close(found, x, rtol=0, atol=3e-6)


def test_moves_go_both_ways_and_by_image() -> None:
    x, indices = maps(images=1).expand(40, -1, -1, -1), torch.arange(40)
    found = operate(x, only("translate_x", 1.0), KEY, indices)
    assert len(torch.unique(found.flatten(1), dim=0)) == 2
    swapped = operate(x, only("noise", 1.0), KEY, indices.flip(0))
    assert torch.equal(swapped.flip(0), operate(x, only("noise", 1.0), KEY, indices))


def test_what_is_drawn_is_spread_as_it_should_be() -> None:
    x = maps(8, 8, images=400, channels=5)
    way, centre, dropping, normal = drawn(x, KEY, torch.arange(400))
    assert set(way.tolist()) == {-1.0, 1.0} and abs(way.mean()) < 0.15
    for values in (centre, dropping):
        assert 0 <= values.min() < 0.01 and 0.99 < values.max() < 1 and abs(values.mean() - 0.5) < 0.03
    shares = [(normal < point).double().mean().item() for point in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    assert shares == pytest.approx([0.02275, 0.15866, 0.5, 0.84134, 0.97725], abs=3e-3)
    assert torch.equal(channel_order(50, KEY).sort().values, torch.arange(50))
    assert len({tuple(channel_order(3, KEY + step).tolist()) for step in range(60)}) == 6
    assert all(map(torch.equal, drawn(x[:, :, :2, :3], KEY, torch.arange(400))[:2], (way, centre))), (
        "of maps of any size"
    )


def policy() -> FeaturePolicy:
    """With sub-policies, probabilities and magnitudes that differ."""
    made, generator = FeaturePolicy(), torch.Generator().manual_seed(3)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return made


def test_a_step_is_its_sub_policy_s_two_operations() -> None:
    """Chosen and applied in full; probabilities and choices are those of the draws' distributions."""
    made, x, indices = policy(), maps().float(), torch.arange(3)
    pairs, counts, applied = [*itertools.combinations(range(9), 2)], torch.zeros(36), torch.zeros(36, 2)
    for step in range(3000):
        chosen, gates = made._draw(hash64(KEY, step))
        assert set(chosen.tolist()) == {0.0, 1.0} and chosen.sum() == 1 and set(gates.flatten().tolist()) <= {0.0, 1.0}
        counts += chosen.detach()
        applied += gates.detach()
        if step < 40:
            expected, best = x, int(chosen.argmax())
            for place in range(2):
                if gates[best, place]:
                    name = NAMES[pairs[best][place]]
                    magnitude = made.magnitude[best, place].sigmoid().item()
                    key = hash64(hash64(KEY, step), place)
                    expected = literal(expected.double(), name, magnitude, key, indices)
            (found,) = made([x], hash64(KEY, step), indices)
            torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(counts / 3000, made.choice.softmax(0).detach(), rtol=0, atol=0.03)
    torch.testing.assert_close(applied / 3000, made.probability.sigmoid().detach(), rtol=0, atol=0.04)


def test_every_step_teaches_the_choice_and_the_probabilities() -> None:
    """And the magnitudes whenever something is applied."""
    made, target = policy(), maps(channels=64, seed=5).float()
    x = [maps(channels=64).float(), maps(2, 4, channels=64).float()]
    for step in range(60):
        made.zero_grad()
        one, other = made(x, hash64(KEY, step), torch.arange(3))
        ((one - target).square().mean() + other.square().mean()).backward()
        found = {name: parameter.grad for name, parameter in made.named_parameters()}
        assert all(torch.isfinite(gradient).all() for gradient in found.values())
        assert (found["choice"] != 0).sum() == 36 and found["probability"].any()
        chosen, gates = made._draw(hash64(KEY, step))
        assert bool(found["magnitude"].any()) == bool((chosen @ gates).any())


def test_what_is_never_applied_changes_no_bit() -> None:
    made, x = policy(), [maps().float(), maps(2, 4).float()]
    torch.nn.init.constant_(made.probability, -math.inf)
    for step in range(30):
        assert all(map(torch.equal, made(x, hash64(KEY, step), torch.arange(3)), x))


def test_draws_are_functions_of_the_step_and_the_image() -> None:
    made, x = policy(), [maps(images=6).float()]

    def at(step: int, indices: Tensor) -> Tensor:
        return torch.cat([made(x, hash64(KEY, step), indices)[0], made(x, hash64(KEY, step + 1), indices)[0]])

    order = torch.randperm(6)
    x = [maps(images=1).float().expand(6, -1, -1, -1)]
    steps = [at(step, torch.arange(6)) for step in range(0, 20, 2)]
    assert all(
        torch.equal(found, at(step, torch.arange(6))) for step, found in zip(range(0, 20, 2), steps, strict=True)
    )
    assert len(torch.unique(torch.stack(steps).flatten(1), dim=0)) > 5
    for step, found in zip(range(0, 20, 2), steps, strict=True):
        torch.testing.assert_close(at(step, order), found.view(2, 6, *found.shape[1:])[:, order].flatten(0, 1))


def test_the_entropy_is_that_of_the_choice() -> None:
    assert FeaturePolicy().entropy().item() == pytest.approx(math.log(36))
    made = policy()
    chances = made.choice.softmax(0).tolist()
    assert made.entropy().item() == pytest.approx(-sum(p * math.log(p) for p in chances), rel=1e-5)


def test_autocast_changes_nothing() -> None:
    made, x = policy(), maps().float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = made([x], KEY, torch.arange(3))[0]
    assert inside.dtype == torch.float32 and torch.equal(inside, made([x], KEY, torch.arange(3))[0])

"""RandAugment as timm does it: each sample draws a few of fifteen operations, whether each is applied, and its noise.

Source: timm 1.0.31, `rand_augment_transform`. All draws are made on the CPU and the samples are grouped by operation,
so with indices on the CPU nothing waits for the device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pat.config import ConfigError
from pat.counter import uniform
from pat.views import affine, image_ops, slots
from pat.views.image_ops import at_once

Apply = Callable[[Tensor, Tensor, bool, Tensor], Tensor]
"""(images uint8 [B, 3, H, W], parameter [B], cubic kernel, fill colour int32 [3]) -> images."""

_SCALE = 10.0
"""The magnitude at which an operation reaches the end of its range."""


class Policy(NamedTuple):
    """timm's text, read: magnitude ~ N(`magnitude`, `spread`) or, `spread` > 100, uniform in 0 … `magnitude`."""

    magnitude: int = 10
    layers: int = 2
    probability: float = 0.5
    spread: float = 0.0
    highest: int = 10
    increasing: bool = False


class Draws(NamedTuple):
    """What happens to each sample in each layer: [B, layers] on the CPU."""

    op: Tensor
    """Which of the fifteen, int64."""
    applied: Tensor
    magnitude: Tensor
    """Noisy and cut to 0 … `highest`, float64."""
    sign: Tensor
    """-1 or 1, for operations that go both ways."""
    cubic: Tensor
    """The kernel of an affine operation is bicubic, else bilinear."""


class Op(NamedTuple):
    """One of the fifteen: what a magnitude means to it, and what it does."""

    name: str
    argument: Callable[[Tensor, Tensor], Tensor]
    """(magnitude / 10, sign) -> the parameter [B] of `apply`."""
    apply: Apply
    moves: bool = False
    """Pixels change places, so that there is a kernel to choose."""


def rand_augment(
    images: Tensor, indices: Tensor, policy: str, fill: Sequence[int], interpolation: str, seed: int, epoch: int
) -> Tensor:
    """uint8 [B, 3, H, W] -> uint8, a pure function of (seed, epoch, index).

    `policy` is timm's text (see `parse`), `fill` the colour outside of a moved image (see `fill_colour`),
    `interpolation` the recipe's: bilinear, bicubic, or random: each operation draws its own.
    """
    parsed = parse(policy)
    draws = draw(parsed, indices.cpu(), interpolation, seed, epoch)
    ops = INCREASING if parsed.increasing else PLAIN
    colour = _send(torch.tensor(fill, dtype=torch.int32), images.device)
    images = images.clone()
    for layer in range(parsed.layers):
        for op, cubic, rows in _groups(draws, layer, ops):
            argument = op.argument(draws.magnitude[rows, layer] / _SCALE, draws.sign[rows, layer])
            for part, values in zip(rows.split(at_once(images)), argument.split(at_once(images)), strict=True):
                part, values = _send(part, images.device), _send(values, images.device)
                changed = op.apply(images.index_select(0, part), values, cubic, colour)
                images.index_copy_(0, part, changed)
    return images


def parse(text: str) -> Policy:
    """Reads `rand` and any of -mM -nN -pP -mstdS -mmaxX -inc0|1. Raises ConfigError for anything else."""
    kind, *sections = text.split("-")
    found = {}
    for section in sections:
        match = re.fullmatch(r"(mstd|mmax|inc|m|n|p)(\d+(?:\.\d+)?)", section)
        if match is None or match[1] in found or ("." in match[2] and match[1] not in ("mstd", "p")):
            raise _refused(text)
        found[match[1]] = match[2]
    policy = Policy(
        magnitude=int(found.get("m", 10)),
        layers=int(found.get("n", 2)),
        probability=float(found.get("p", 0.5)),
        spread=float(found.get("mstd", 0)),
        highest=int(found.get("mmax", 10)),
        increasing=found.get("inc", "0") == "1",
    )
    if kind != "rand" or found.get("inc", "0") not in ("0", "1") or policy.probability > 1 or not policy.highest:
        raise _refused(text)
    return policy


def fill_colour(mean: Sequence[float]) -> tuple[int, ...]:
    """The mean colour of a normalisation in whole levels, as timm's loader takes it."""
    return tuple(min(255, round(255 * channel)) for channel in mean)


def draw(policy: Policy, indices: Tensor, interpolation: str, seed: int, epoch: int) -> Draws:
    """What `rand_augment` does to the samples `indices` [B] (on the CPU)."""
    layer, slot = torch.arange(policy.layers), slots.several(slots.OP, 5, indices.device)[:, None]
    op, applied, noise, sign, kernel = uniform(seed, epoch, indices[:, None, None], slot, layer).unbind(1)
    if policy.spread > 100:
        magnitude = noise * policy.magnitude
    elif policy.spread > 0:
        magnitude = policy.magnitude + policy.spread * torch.special.ndtri(noise)
    else:
        magnitude = torch.full_like(noise, policy.magnitude)
    return Draws(
        op=(op * len(PLAIN)).long(),
        applied=applied < policy.probability,
        magnitude=magnitude.clamp(0, policy.highest),
        sign=torch.where(sign < 0.5, -1.0, 1.0),
        cubic=kernel < {"bilinear": 0.0, "bicubic": 1.0, "random": 0.5}[interpolation],
    )


def _groups(draws: Draws, layer: int, ops: tuple[Op, ...]) -> Iterator[tuple[Op, bool, Tensor]]:
    """Each operation that is applied in a layer, its kernel where it has one, and the samples it is applied to."""
    for number, op in enumerate(ops):
        chosen = draws.applied[:, layer] & (draws.op[:, layer] == number)
        for cubic in (False, True) if op.moves else (False,):
            rows = (chosen & (draws.cubic[:, layer] == cubic) if op.moves else chosen).nonzero()[:, 0]
            if len(rows):
                yield op, cubic, rows


def _send(values: Tensor, device: torch.device) -> Tensor:
    """To the device without waiting for what it is still doing."""
    return values.to(device, non_blocking=True)


def _refused(text: str) -> ConfigError:
    return ConfigError(
        f"recipe.auto_augment = {text!r}: '' or timm's rand, then any of -m9 (magnitude), -n2 (layers), -p0.5 "
        "(probability), -mstd0.5 (noise), -mmax10 (highest), -inc1, each once"
    )


def _bare(function: Callable[[Tensor], Tensor]) -> Apply:
    return lambda images, argument, cubic, fill: function(images)


def _levelled(function: Callable[[Tensor, Tensor], Tensor]) -> Apply:
    return lambda images, argument, cubic, fill: function(images, argument)


def _enhance(level: Tensor, sign: Tensor) -> Tensor:
    return level * 1.8 + 0.1


def _enhance_increasing(level: Tensor, sign: Tensor) -> Tensor:
    return (1 + sign * (level * 0.9)).clamp(min=0.1)


_ENHANCE = {
    "Color": image_ops.colour,
    "Contrast": image_ops.contrast,
    "Brightness": image_ops.brightness,
    "Sharpness": image_ops.sharpness,
}


def _ops(increasing: bool) -> tuple[Op, ...]:
    """timm's fifteen in its order; with `increasing`, more magnitude is always more change."""
    ending = "Increasing" if increasing else ""
    bits = (lambda level, sign: 4 - (level * 4).trunc()) if increasing else (lambda level, sign: (level * 4).trunc())
    return (
        Op("AutoContrast", lambda level, sign: level, _bare(image_ops.auto_contrast)),
        Op("Equalize", lambda level, sign: level, _bare(image_ops.equalize)),
        Op("Invert", lambda level, sign: level, _bare(image_ops.invert)),
        Op("Rotate", lambda level, sign: sign * (level * 30), affine.rotate, True),
        Op(f"Posterize{ending}", bits, _levelled(image_ops.posterize)),
        Op(f"Solarize{ending}", lambda level, sign: _threshold(level, increasing), _levelled(image_ops.solarize)),
        Op("SolarizeAdd", lambda level, sign: (level * 110).trunc().clamp(max=128), _levelled(image_ops.solarize_add)),
        *(
            Op(f"{name}{ending}", _enhance_increasing if increasing else _enhance, _levelled(function))
            for name, function in _ENHANCE.items()
        ),
        Op("ShearX", lambda level, sign: sign * (level * 0.3), affine.shear_x, True),
        Op("ShearY", lambda level, sign: sign * (level * 0.3), affine.shear_y, True),
        Op("TranslateXRel", lambda level, sign: sign * (level * 0.45), affine.translate_x, True),
        Op("TranslateYRel", lambda level, sign: sign * (level * 0.45), affine.translate_y, True),
    )


def _threshold(level: Tensor, increasing: bool) -> Tensor:
    threshold = (level * 256).trunc().clamp(max=256)
    return 256 - threshold if increasing else threshold


PLAIN, INCREASING = _ops(False), _ops(True)
"""The fifteen of -inc0 and of -inc1."""

"""Pixels of the batched augmentations against timm's and PIL's own, on real images where they are at hand."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import timm.data.auto_augment as timm_augment
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional

from pat.views import colour_jitter, image_ops
from pat.views.randaugment import INCREASING, PLAIN, Op, draw, fill_colour, parse, rand_augment

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
FILL = (124, 116, 104)
KERNELS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
POLICY = "rand-m9-mstd0.5-inc1"


def smooth_images(count: int, height: int, width: int) -> Tensor:
    """Images with structure at several scales, from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1) * 235
    noise = torch.rand(count, 3, height, width, generator=generator) * 20
    return (image + noise).round().clamp(0, 255).to(torch.uint8)


def stack(images: list[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack([np.array(image.convert("RGB")).transpose(2, 0, 1) for image in images]))


def pil(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


@pytest.fixture(scope="module", params=["cifar", "imagenette", "not square"])
def images(request: pytest.FixtureRequest) -> Tensor:
    """uint8 [16, 3, H, W]; of one image each channel has a single value."""
    cifar = SHARED / "cifar-100-mini" / "cifar-100-python" / "train"
    imagenette = sorted((SHARED / "imagenette2-224" / "train").glob("*/*.JPEG"))
    if request.param == "cifar" and cifar.exists():
        chosen = torch.from_numpy(pickle.loads(cifar.read_bytes(), encoding="latin1")["data"]).view(-1, 3, 32, 32)[:16]
    elif request.param == "imagenette" and imagenette:
        chosen = stack([Image.open(path) for path in imagenette[:400:25]])
    else:
        chosen = smooth_images(16, 37, 50)
    chosen[5] = torch.tensor([0, 130, 255], dtype=torch.uint8)[:, None, None]
    return chosen


@pytest.mark.parametrize("op", {op.name: op for op in (*PLAIN, *INCREASING)}.values(), ids=lambda op: op.name)
def test_operations_are_those_of_timm(op: Op, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the magnitude to the pixels: at most 2 of 255 levels, at most 0.5 % of pixels differing.

    Every magnitude with both signs and kernels; 10 is where the draws are cut, so the most frequent single one.
    """
    count = torch.arange(16)
    magnitude = torch.tensor([9.0, 10.0, 8.6134, 2.7])[count // 4].double()
    sign, cubic = 1.0 - 2 * (count % 2), (count // 2) % 2 == 1
    argument = op.argument(magnitude / 10, sign.double())
    ours = torch.empty_like(images)
    for kernel in (False, True):
        rows = cubic == kernel
        ours[rows] = op.apply(images[rows], argument[rows], kernel, torch.tensor(FILL, dtype=torch.int32))
    differing = 0.0
    for i in range(16):
        monkeypatch.setattr(timm_augment, "_randomly_negate", lambda value, sign=float(sign[i]): sign * value)
        level = timm_augment.LEVEL_TO_ARG[op.name]
        arguments = level(float(magnitude[i]), {}) if level else ()
        if "Posterize" in op.name and arguments[0] == 0:
            theirs = torch.zeros_like(images[i])  # Pillow < 13; 13 raises an error
        else:
            function = timm_augment.NAME_TO_OP[op.name]
            options = {"fillcolor": FILL, "resample": KERNELS[int(cubic[i])]}
            theirs = stack([function(pil(images[i]), *arguments, **options)])[0]
        difference = (ours[i].int() - theirs.int()).abs()
        assert difference.max() <= 2
        differing += (difference > 0).float().mean().item() / 16
    assert differing <= 0.005


def test_every_timm_operation_is_there_in_its_order() -> None:
    assert [op.name for op in INCREASING] == timm_augment._RAND_INCREASING_TRANSFORMS
    assert [op.name for op in PLAIN] == timm_augment._RAND_TRANSFORMS


@pytest.mark.parametrize("cubic", [False, True])
def test_a_turn_by_nothing_changes_nothing(images: Tensor, cubic: bool) -> None:
    turn = INCREASING[3]
    fill = torch.zeros(3, dtype=torch.int32)
    assert torch.equal(turn.apply(images, torch.zeros(16, dtype=torch.float64), cubic, fill), images)


def test_posterize_to_no_bits_is_black() -> None:
    """Magnitude 10 of PosterizeIncreasing: an error in Pillow 13, black before and here."""
    image = smooth_images(1, 8, 8)
    increasing = INCREASING[4]
    no_bits = increasing.argument(torch.ones(1), torch.ones(1))
    assert no_bits.tolist() == [0]
    for bits in (no_bits, torch.tensor([-3.0])):
        assert image_ops.posterize(image, bits).eq(0).all()
    assert torch.equal(image_ops.posterize(image, torch.tensor([8])), image)
    assert image_ops.posterize(image, torch.tensor([1])).unique().tolist() == [0, 128]


def test_small_pictures_survive_every_operation() -> None:
    one, fill = torch.ones(2), torch.zeros(3, dtype=torch.int32)
    for height, width in ((1, 1), (2, 5), (5, 2)):
        image = smooth_images(2, height, width)
        for op in INCREASING:
            for cubic in (False, True):
                changed = op.apply(image, op.argument(one, one), cubic, fill)
                assert changed.shape == image.shape and changed.dtype == torch.uint8


def test_rand_augment_is_its_operations_in_a_row(images: Tensor) -> None:
    """The batched, grouped form against one sample and one operation at a time."""
    indices = torch.arange(100, 116)
    draws = draw(parse(POLICY), indices, "random", 1, 2)
    ours = rand_augment(images, indices, POLICY, FILL, "random", 1, 2)
    fill = torch.tensor(FILL, dtype=torch.int32)
    for i in range(16):
        expected = images[i : i + 1]
        for layer in range(2):
            if draws.applied[i, layer]:
                op = INCREASING[int(draws.op[i, layer])]
                one = (x[i : i + 1, layer] for x in (draws.magnitude / 10, draws.sign))
                expected = op.apply(expected, op.argument(*one), bool(draws.cubic[i, layer]), fill)
        assert torch.equal(ours[i], expected[0])
    assert not torch.equal(ours, images)


def test_rand_augment_does_not_depend_on_the_batch(images: Tensor) -> None:
    before = images.clone()
    indices = torch.arange(16) * 7
    whole = rand_augment(images, indices, POLICY, FILL, "random", 3, 5)
    assert torch.equal(images, before)
    for part in (torch.tensor([7]), torch.tensor([12, 7, 2]), torch.arange(15, -1, -1)):
        assert torch.equal(rand_augment(images[part], indices[part], POLICY, FILL, "random", 3, 5), whole[part])
    for seed, epoch in ((4, 5), (3, 6)):
        assert not torch.equal(rand_augment(images, indices, POLICY, FILL, "random", seed, epoch), whole)


def test_fill_is_timms() -> None:
    assert fill_colour((0.485, 0.456, 0.406)) == FILL
    assert fill_colour((0.5, 1.0, 0.0)) == (128, 255, 0)


def test_colour_jitter_has_the_pixels_of_pil(images: Tensor) -> None:
    indices = torch.arange(16)
    factors, order = colour_jitter.draw(indices, 0.9, 0, 0)
    ours = colour_jitter.colour_jitter(images, indices, 0.9, 0, 0)
    changes = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
    differing = 0.0
    for i in range(16):
        picture = pil(images[i])
        for number in order[i].tolist():
            picture = changes[number](picture, float(factors[i, number]))
        difference = (ours[i].int() - stack([picture])[0].int()).abs()
        assert difference.max() <= 2
        differing += (difference > 0).float().mean().item() / 16
    assert differing <= 0.005
    part = torch.tensor([11, 3])
    assert torch.equal(colour_jitter.colour_jitter(images[part], indices[part], 0.9, 0, 0), ours[part])
    assert torch.equal(colour_jitter.colour_jitter(images, indices, 0.0, 0, 0), images)

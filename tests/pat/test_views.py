"""Views: pure functions of (seed, epoch, index), with PIL's pixels."""

import numpy as np
import pytest
import torch
from PIL import Image

from pat.config import Recipe
from pat.counter import hash64, permutation, uniform
from pat.data import Split
from pat.views import crop_boxes, eval_batch, resized_crop, train_batch

CROPS = {"crop_scale": (0.08, 1.0), "crop_ratio": (0.75, 4 / 3), "flip": 0.5, "interpolation": "random"}


def recipe(**fields: object) -> Recipe:
    return Recipe(epochs=1, batch_size=4, lr=0.1, **{**CROPS, **fields})  # type: ignore[arg-type]


def smooth_images(count: int, height: int = 32, width: int = 32) -> torch.Tensor:
    """Images with structure at several scales, from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1) * 235
    noise = torch.rand(count, 3, height, width, generator=generator) * 20
    return (image + noise).round().clamp(0, 255).to(torch.uint8)


@pytest.fixture
def split() -> Split:
    return Split(smooth_images(40), torch.arange(40) % 10)


@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}])
def test_a_view_does_not_depend_on_its_batch(split: Split, mixing: dict[str, float]) -> None:
    whole, targets = train_batch(split, torch.arange(40), recipe(**mixing), 24, 10, seed=3, epoch=5)
    for indices in (torch.tensor([7]), torch.tensor([30, 7, 2]), torch.arange(39, -1, -1)):
        part, part_targets = train_batch(split, indices, recipe(**mixing), 24, 10, seed=3, epoch=5)
        assert torch.equal(part, whole[indices])
        assert torch.equal(part_targets, targets[indices])
    assert torch.allclose(targets.sum(1), torch.ones(40))
    assert whole.min() >= 0 and whole.max() <= 1


def test_seed_and_epoch_matter(split: Split) -> None:
    indices = torch.arange(40)
    base = train_batch(split, indices, recipe(), 24, 10, seed=0, epoch=0)[0]
    for other in ({"seed": 1, "epoch": 0}, {"seed": 0, "epoch": 1}):
        assert not torch.equal(base, train_batch(split, indices, recipe(), 24, 10, **other)[0])


@pytest.mark.parametrize("size", [224, 32])
def test_pixels_are_those_of_pil(size: int) -> None:
    """At most 2 of 255 levels, at most 0.5 % of pixels differing, on crops of every size and both kernels."""
    images = smooth_images(48, 32, 40)
    indices = torch.arange(48)
    boxes = crop_boxes(indices, 32, 40, recipe(), seed=0, epoch=0)
    flip, cubic = uniform(1, indices) < 0.5, uniform(2, indices) < 0.5
    ours = resized_crop(images, boxes, flip, cubic, size).mul(255).round()
    differing = 0.0
    for i in range(48):
        top, left, height, width = (int(x[i]) for x in boxes)
        kernel = Image.Resampling.BICUBIC if cubic[i] else Image.Resampling.BILINEAR
        image = Image.fromarray(images[i].permute(1, 2, 0).numpy()).crop((left, top, left + width, top + height))
        image = image.resize((size, size), kernel)
        if flip[i]:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        difference = (torch.from_numpy(np.array(image)).permute(2, 0, 1).float() - ours[i]).abs()
        assert difference.max() <= 2
        differing += (difference > 0).float().mean().item() / 48
    assert differing <= 0.005


def test_boxes_have_the_ranges_of_the_recipe() -> None:
    top, left, height, width = crop_boxes(torch.arange(20_000), 64, 64, recipe(crop_scale=(0.2, 0.6)), 0, 0)
    area, ratio = height * width / 64**2, width / height
    assert area.min() > 0.18 and area.max() < 0.62
    assert area.mean().item() == pytest.approx(0.4, abs=0.01)
    assert ratio.log().mean().item() == pytest.approx(0, abs=0.01)
    assert (top >= 0).all() and (top + height <= 64).all() and (left >= 0).all() and (left + width <= 64).all()


def test_cutmix_targets_are_the_area_shares(split: Split) -> None:
    """On images of one constant colour a class, the mean colour tells the true share."""
    colours = torch.arange(10, dtype=torch.uint8) * 25
    labels = torch.arange(40) % 10
    flat = Split(colours[labels][:, None, None, None].expand(-1, 3, 32, 32).contiguous(), labels)
    images, targets = train_batch(flat, torch.arange(40), recipe(cutmix=1.0), 32, 10, 0, 0)
    expected = targets @ (colours.float() / 255)
    torch.testing.assert_close(images.mean((1, 2, 3)), expected, rtol=0, atol=1e-4)


def test_evaluation_takes_the_middle_square() -> None:
    image = smooth_images(1, 20, 30)
    pil = Image.fromarray(image[0].permute(1, 2, 0).numpy()).crop((5, 0, 25, 20)).resize((32, 32), Image.BICUBIC)
    ours = eval_batch(image, 32)[0].mul(255).round()
    assert (ours - torch.from_numpy(np.array(pil)).permute(2, 0, 1)).abs().max() <= 1


def test_counter_numbers_are_uniform_and_repeatable() -> None:
    draws = uniform(7, torch.arange(50_000))
    assert draws.mean().item() == pytest.approx(0.5, abs=0.01) and draws.var().item() == pytest.approx(
        1 / 12, abs=0.002
    )
    assert draws.min() >= 0 and draws.max() < 1
    assert int(hash64(1, 2)) != int(hash64(2, 1))
    assert int(hash64(0)) == -2152535657050944081  # SplitMix64's first output from state 0: 0xe220a8397b1dcdaf
    assert sorted(permutation(100, 1).tolist()) == list(range(100)) and not torch.equal(
        permutation(100, 1), permutation(100, 2)
    )

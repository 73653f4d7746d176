"""Views: pure functions of (seed, epoch, index), with PIL's pixels; of the global batch where samples are mixed."""

import numpy as np
import pytest
import timm.data.mixup
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform
from timm.data.mixup import FastCollateMixup, mixup_target

from pat.config import Recipe
from pat.counter import hash64, permutation, uniform
from pat.data import Pixels, Split
from pat.views import Views, crop_boxes, eval_batch, resized_crop, train_views
from pat.views.mix import _draw, mix

CROPS = {"crop_scale": (0.08, 1.0), "crop_ratio": (0.75, 4 / 3), "flip": 0.5, "interpolation": "random"}
MIXINGS = [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}, {"mixup": 0.8, "mixup_mode": "elem"}]
FULL = {"mixup": 0.8, "cutmix": 1.0, "auto_augment": "rand-m9-mstd0.5-inc1", "random_erasing": 0.5}
PLAIN = ((0.0,) * 3, (1.0,) * 3)


def recipe(**fields: object) -> Recipe:
    return Recipe(epochs=1, batch_size=4, lr=0.1, **{**CROPS, **fields})  # type: ignore[arg-type]


def view(split: Split, batch: torch.Tensor, using: Recipe, size: int = 24, seed: int = 3, epoch: int = 5) -> Views:
    """The views of one batch, with pixels in [0, 1]."""
    return next(train_views(split, batch[None], using, size, 10, PLAIN, seed, epoch))


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


def test_a_view_does_not_depend_on_its_batch(split: Split) -> None:
    whole = view(split, torch.arange(40), recipe())
    for indices in (torch.tensor([7]), torch.tensor([30, 7, 2]), torch.arange(39, -1, -1)):
        part = view(split, indices, recipe())
        assert torch.equal(part.indices, indices)
        assert torch.equal(part.images, whole.images[indices])
        assert torch.equal(part.targets, whole.targets[indices])


@pytest.mark.parametrize("mixing", [{}, {"color_jitter": 0.4}, *MIXINGS, FULL])
@pytest.mark.parametrize("size", [12, 15])
def test_views_do_not_depend_on_the_number_of_workers(split: Split, mixing: dict[str, object], size: int) -> None:
    """Slices of even and of odd length, of an even and of an odd global batch."""
    batches = permutation(40, 0)[: size * 2].view(2, size)
    arguments = (recipe(label_smoothing=0.1, **mixing), 24, 10, PLAIN, 3, 5)
    whole = list(train_views(split, batches, *arguments))
    for world in (w for w in range(2, size + 1) if size % w == 0):
        ranks = [list(train_views(split, batches, *arguments, rank, world)) for rank in range(world)]
        for step, one in enumerate(whole):
            for k, together in enumerate(one):
                assert torch.equal(torch.cat([views[step][k] for views in ranks]), together)
    assert torch.allclose(whole[0].targets.sum(1), torch.ones(size))
    assert mixing == FULL or (whole[0].images.min() >= 0 and whole[0].images.max() <= 1)  # but for erasing's noise
    assert whole[0].images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("mixing", MIXINGS)
def test_partners_are_neighbours_in_the_batch(split: Split, mixing: dict[str, object]) -> None:
    """Places 2i and 2i + 1 share their classes; the last of an odd batch keeps its own. Batches draw anew."""
    batches = torch.arange(15).repeat(2, 1)
    first, second = train_views(split, batches, recipe(**mixing), 24, 10, PLAIN, 3, 5)
    classes = first.targets > 0
    for place in range(0, 14, 2):
        own = torch.tensor([place % 10, (place + 1) % 10])
        assert not classes[place : place + 2, [c for c in range(10) if c not in own]].any()
    last = view(split, torch.tensor([14]), recipe())
    assert torch.equal(first.targets[14], last.targets[0]) and torch.equal(first.images[14], last.images[0])
    assert (mixing.get("mixup_mode") == "elem") == torch.equal(first.images, second.images)
    if mixing.get("mixup_mode") != "elem":
        assert len({tuple(sorted(row[row > 0].tolist())) for row in first.targets[:14]}) == 1  # one share for all


@pytest.mark.parametrize("size", [224, 32])
def test_pixels_are_those_of_pil(size: int) -> None:
    """At most 2 of 255 levels, at most 0.5 % of pixels differing, on crops of every size and both kernels."""
    images = smooth_images(48, 32, 40)
    indices = torch.arange(48)
    boxes = crop_boxes(indices, 32, 40, recipe(), seed=0, epoch=0)
    flip, cubic = uniform(1, indices) < 0.5, uniform(2, indices) < 0.5
    ours = resized_crop(images, boxes, flip, cubic, size).float()
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


@pytest.mark.parametrize("mode", ["batch", "elem"])
def test_cutmix_targets_are_the_area_shares(mode: str) -> None:
    """On images of one constant colour a class, the mean colour tells the true share."""
    colours = torch.arange(10, dtype=torch.uint8) * 25
    labels = torch.arange(40) % 10
    flat = Split(colours[labels][:, None, None, None].expand(-1, 3, 32, 32).contiguous(), labels)
    for seed in range(5):
        views = view(flat, torch.arange(40), recipe(cutmix=1.0, mixup_mode=mode), 32, seed)
        expected = views.targets @ (colours.float() / 255)
        torch.testing.assert_close(views.images.mean((1, 2, 3)), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("mixing", [{"mixup": 0.8}, {"cutmix": 1.0}])
def test_mixing_is_timms_for_the_same_draws(mixing: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """8-bit pixels and smoothed targets, bit for bit; the box and the lambda are ours, the rest is timm's."""
    images, labels, key = smooth_images(6), torch.tensor([3, 1, 4, 1, 5, 9]), torch.tensor([2])
    smoothed = mixup_target(labels, 10, 1.0, 0.1)
    partners = torch.arange(5, -1, -1)
    ours, targets = mix(images, smoothed, partners, key, recipe(**mixing), seed=1, epoch=0)
    kept, box = _draw(key, recipe(**mixing), 32, 1, 0)
    theirs = FastCollateMixup(num_classes=10, label_smoothing=0.1)
    top, bottom, left, right = box[0].tolist()
    monkeypatch.setattr(theirs, "_params_per_batch", lambda: (float(kept), "cutmix" in mixing))
    monkeypatch.setattr(timm.data.mixup, "rand_bbox", lambda *_, **__: (top, bottom, left, right))
    expected, expected_targets = theirs(list(zip(images, labels.tolist(), strict=True)))
    assert torch.equal(ours, expected) and not torch.equal(ours, images)
    torch.testing.assert_close(targets, expected_targets, rtol=0, atol=1e-7)


def test_smoothed_targets_are_timms(split: Split) -> None:
    targets = view(split, torch.arange(40), recipe(label_smoothing=0.1)).targets
    torch.testing.assert_close(targets, mixup_target(split.labels, 10, 1.0, 0.1), rtol=0, atol=1e-7)


def test_mixing_is_distributed_as_timms() -> None:
    """Half cutmix; lambda ~ Beta: mean 1/2, variance 1 / (8 alpha + 4); the areas that boxes leave as timm's."""
    keys = torch.arange(20_000)
    kept, box = _draw(keys, recipe(mixup=0.8, cutmix=1.0), 32, 0, 0)
    cut = box[:, 1] > box[:, 0]
    assert cut.double().mean().item() == pytest.approx(0.5 * 31.5 / 32, abs=0.02)  # the smallest boxes are empty
    assert kept[~cut].mean().item() == pytest.approx(0.5, abs=0.02)
    lambdas, _ = _draw(keys, recipe(mixup=0.8), 32, 0, 0)
    assert lambdas.var().item() == pytest.approx(1 / 10.4, abs=0.003)
    left_over, boxes = _draw(keys, recipe(cutmix=1.0), 32, 0, 0)
    generator = np.random.default_rng(0)
    np.random.seed(0)
    theirs = [timm.data.mixup.cutmix_bbox_and_lam((3, 32, 32), lam) for lam in generator.beta(1, 1, 20_000)]
    for quantile in (0.1, 0.25, 0.5, 0.75, 0.9):
        expected = np.quantile([lam for _, lam in theirs], quantile)
        assert left_over.quantile(quantile).item() == pytest.approx(expected, abs=0.015)
    expected_top, our_top = np.mean([found[0] for found, _ in theirs]), boxes[:, 0].double().mean().item()
    assert our_top == pytest.approx(expected_top, abs=0.3)


@given(seed=st.integers(0, 10**6), size=st.integers(1, 40), cubic=st.booleans())
@settings(max_examples=30, deadline=None)
def test_images_of_the_scored_size_are_scored_as_they_are(seed: int, size: int, cubic: bool) -> None:
    """Which is what resampling them gives, to the bit; only what is padded or cut is resampled."""
    images = torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    pixels = Pixels.of(images)
    as_they_are, resampled = (
        eval_batch(pixels, size, 1.0, cubic),
        eval_batch(pixels._replace(padded=True), size, 1.0, cubic),
    )
    assert torch.equal(as_they_are, resampled) and torch.equal(as_they_are, images.float().div(255))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("crop_pct", [1.0, 0.95, 0.875])
def test_evaluation_is_timms(crop_pct: float, size: int, interpolation: str) -> None:
    """At most 2 levels and 0.5 % of pixels differ from timm's transform, whatever the shape of the image.

    But bilinear weights of simple fractions give exact halves, which fall either way: 1 level in up to 5 % of pixels.
    """
    transform = create_transform(
        size, crop_pct=crop_pct, interpolation=interpolation, use_prefetcher=True, is_training=False
    )
    for height, width in [(20, 30), (48, 48), (97, 64), (150, 233), (333, 500)]:
        image = smooth_images(1, height, width)
        expected = transform(Image.fromarray(image[0].permute(1, 2, 0).numpy()))
        ours = eval_batch(Pixels.of(image), size, crop_pct, interpolation == "bicubic")[0].mul(255)
        difference = (ours - expected).abs()
        levels, share = (2, 0.005) if interpolation == "bicubic" else (1.01, 0.06)
        assert difference.max() <= levels and (difference > 0.01).float().mean() <= share, (height, width)


def test_without_crops_the_middle_square_is_taken() -> None:
    image = smooth_images(1, 20, 30)
    whole = Recipe(epochs=1, batch_size=1, lr=0.1)
    pil = Image.fromarray(image[0].permute(1, 2, 0).numpy()).crop((5, 0, 25, 20)).resize((32, 32), Image.BICUBIC)
    ours = view(Split(image, torch.zeros(1, dtype=torch.int64)), torch.tensor([0]), whole, 32).images[0].mul(255)
    assert (ours - torch.from_numpy(np.array(pil)).permute(2, 0, 1)).abs().max() <= 1.01


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 60), st.integers(0, 60), st.integers(0, 9))
def test_padding_is_never_seen(height: int, width: int, below: int, beside: int, seed: int) -> None:
    """Whatever stands in the padding: the same pixels, in crops and in evaluation."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (1, 3, height, width), generator=generator, dtype=torch.uint8)
    padded = torch.randint(0, 256, (1, 3, height + below, width + beside), generator=generator, dtype=torch.uint8)
    padded[:, :, :height, :width] = image
    index, yes = torch.tensor([seed]), torch.ones(1, dtype=torch.bool)
    boxes = crop_boxes(index, height, width, recipe(), seed, 0)
    bare, within = (resized_crop(x, boxes, yes, yes, 16).int() for x in (image, padded))
    assert (bare - within).abs().max() <= 1 and (bare != within).float().mean() <= 0.005  # sums in another order
    pixels = Pixels([(torch.tensor([0]), padded)], torch.tensor([height]), torch.tensor([width]))
    bare, within = (eval_batch(x, 16).mul(255).round() for x in (Pixels.of(image), pixels))
    assert (bare - within).abs().max() <= 1 and (bare != within).float().mean() <= 0.005


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

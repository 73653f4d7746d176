"""What the batched augmentations draw, against what timm and torchvision draw; random erasing; bad texts."""

import random
from collections import Counter, defaultdict

import numpy as np
import pytest
import timm.data.auto_augment as timm_augment
import torch
from scipy import stats
from timm.data.random_erasing import RandomErasing
from timm.data.transforms_factory import transforms_imagenet_train
from torchvision.transforms import ColorJitter

from pat.config import ConfigError
from pat.views import colour_jitter
from pat.views.erasing import erasing_boxes, random_erasing
from pat.views.randaugment import INCREASING, PLAIN, Policy, draw, parse

SAMPLES = 12_000
SURE = 1e-4
"""Smallest p-value of a comparison; all seeds are fixed, so a test either always passes or never."""


@pytest.mark.parametrize(
    "policy", ["rand-m9-mstd0.5-inc1", "rand-m9-n3-p0.8", "rand-m7-mstd101-inc1", "rand-m12-mstd2-mmax15-inc1"]
)
def test_rand_augment_draws_what_timm_draws(policy: str) -> None:
    """Operations, how many of them are applied, their arguments (noise, cut, sign) and their kernels."""
    random.seed(0)
    np.random.seed(0)
    transform = timm_augment.rand_augment_transform(policy, {"img_mean": (1, 2, 3)})
    theirs: dict[str, list[float]] = defaultdict(list)
    kernels: Counter[bool] = Counter()

    def record(op: timm_augment.AugmentOp) -> None:
        def note(image: None, *arguments: float, **keywords: object) -> None:
            theirs[op.name].append(arguments[0] if arguments else 0.0)
            kernels[timm_augment._interpolation(keywords) == timm_augment.Image.Resampling.BICUBIC] += 1

        op.aug_fn = note

    for op in transform.ops:
        record(op)
    for _ in range(SAMPLES):
        transform(None)

    parsed = parse(policy)
    draws = draw(parsed, torch.arange(SAMPLES), "random", 0, 0)
    for number, op in enumerate(INCREASING if parsed.increasing else PLAIN):
        chosen = draws.applied & (draws.op == number)
        ours = op.argument(draws.magnitude[chosen] / 10, draws.sign[chosen]).numpy()
        counts = [len(ours), len(theirs[op.name])]
        assert stats.binomtest(counts[0], sum(counts)).pvalue > SURE, op.name
        if timm_augment.LEVEL_TO_ARG[op.name]:
            assert stats.ks_2samp(ours, theirs[op.name]).pvalue > SURE, op.name
    applied = draws.applied.double().mean().item()
    assert applied == pytest.approx(sum(map(len, theirs.values())) / SAMPLES / parsed.layers, abs=0.01)
    assert 0 <= draws.magnitude.min() and draws.magnitude.max() <= parsed.highest
    cubic = int(draws.cubic.sum())
    assert stats.chi2_contingency([[cubic, draws.cubic.numel() - cubic], [kernels[True], kernels[False]]]).pvalue > SURE


def test_a_layer_tells_nothing_of_the_other() -> None:
    draws = draw(parse("rand-m9-mstd0.5-inc1"), torch.arange(60_000), "random", 0, 0)
    pairs = torch.bincount(draws.op[:, 0] * 15 + draws.op[:, 1], minlength=225)
    assert stats.chisquare(pairs.numpy()).pvalue > SURE
    both = torch.bincount(draws.applied.sum(1), minlength=3)
    assert stats.chisquare(both.numpy(), [15_000, 30_000, 15_000]).pvalue > SURE


def test_interpolation_of_the_recipe_is_kept() -> None:
    """timm hands a fixed interpolation on to its operations; only "random" draws one for each."""
    for name, share in (("bilinear", 0.0), ("bicubic", 1.0)):
        assert draw(Policy(), torch.arange(50), name, 0, 0).cubic.double().mean() == share


@pytest.mark.parametrize(
    "text, expected",
    [
        ("rand", Policy()),
        ("rand-m9-mstd0.5-inc1", Policy(magnitude=9, spread=0.5, increasing=True)),
        ("rand-inc0-p1-n3-mmax20-m4", Policy(magnitude=4, layers=3, probability=1.0, highest=20)),
    ],
)
def test_texts_are_read(text: str, expected: Policy) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "augmix-m5", "original", "v0", "3a", "rand-m9-t0", "rand-m9-w0", "rand-m9-tweights", "rand-m", "rand-m-9",
     "rand-m9.5", "rand-m9-m8", "rand-inc2", "rand-p1.5", "rand-mmax0", "rand-mstdinf", "rand m9", "Rand-m9", "rand-"],
)  # fmt: skip
def test_other_texts_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text)
    message = str(error.value)
    assert message.startswith(f"recipe.auto_augment = {text!r}: ") and "mstd" in message and "\n" not in message


@pytest.mark.parametrize("strength", [0.4, 1.5])
def test_colour_jitter_draws_what_torchvision_draws(strength: float) -> None:
    torch.manual_seed(0)
    jitter = ColorJitter(strength, strength, strength)
    orders, factors = [], []
    for _ in range(4000):
        order, *three, _ = jitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
        orders.append(tuple(number for number in order.tolist() if number < 3))
        factors.append(three)
    ours, order = colour_jitter.draw(torch.arange(4000), strength, 0, 0)
    for mine, theirs in zip(ours.T.numpy(), np.array(factors).T, strict=True):
        assert stats.ks_2samp(mine, theirs).pvalue > SURE
        assert mine.min() >= max(0, 1 - strength) and mine.max() <= 1 + strength
    counts, expected = Counter(map(tuple, order.tolist())), Counter(orders)
    assert stats.chi2_contingency([[c[key] for key in sorted(expected)] for c in (counts, expected)]).pvalue > SURE


def test_timm_jitters_always_and_only_without_rand_augment() -> None:
    names = [type(step).__name__ for step in transforms_imagenet_train(32, color_jitter=0.4).transforms]
    assert "ColorJitter" in names and "RandomApply" not in names
    with_policy = transforms_imagenet_train(32, color_jitter=0.4, auto_augment="rand-m9-mstd0.5-inc1").transforms
    assert "ColorJitter" not in [type(step).__name__ for step in with_policy]


@pytest.mark.parametrize("height, width", [(32, 32), (40, 12)])
def test_erased_boxes_are_those_of_timm(height: int, width: int) -> None:
    random.seed(0)
    torch.manual_seed(0)
    count = 5000
    erase = RandomErasing(0.6, mode="pixel", device="cpu")
    erased = torch.stack([erase(torch.zeros(1, height, width)) for _ in range(count)])[:, 0] != 0
    rows, columns = erased.any(2), erased.any(1)
    theirs = (rows.byte().argmax(1), columns.byte().argmax(1), rows.sum(1), columns.sum(1))
    ours = erasing_boxes(torch.arange(count), height, width, 0.6, 0, 0)
    some, mine = theirs[2] > 0, ours[2] > 0
    assert mine.double().mean().item() == pytest.approx(some.double().mean().item(), abs=0.03)
    for ours_part, theirs_part in zip(ours, theirs, strict=True):
        assert stats.ks_2samp(ours_part[mine].numpy(), theirs_part[some].numpy()).pvalue > SURE
    areas = [(box[2] * box[3])[box[2] > 0] for box in (ours, theirs)]
    assert stats.ks_2samp(*(area.numpy() for area in areas)).pvalue > SURE


def test_erased_pixels_are_noise_and_all_others_stay() -> None:
    images = torch.rand(200, 3, 24, 20) + 10
    indices = torch.arange(200) * 3
    erased = random_erasing(images.clone(), indices, 0.5, 1, 2)
    top, left, height, width = erasing_boxes(indices, 24, 20, 0.5, 1, 2)
    noise = []
    for i in range(200):
        box = torch.zeros(24, 20, dtype=torch.bool)
        box[top[i] : top[i] + height[i], left[i] : left[i] + width[i]] = True
        assert torch.equal(erased[i][:, ~box], images[i][:, ~box])
        noise.append(erased[i][:, box].flatten())
    values = torch.cat(noise)
    assert values.numel() > 15_000 and values.unique().numel() > 0.99 * values.numel()
    assert stats.kstest(values.numpy(), "norm").pvalue > SURE


def test_erasing_does_not_depend_on_the_batch() -> None:
    images = torch.rand(30, 3, 16, 16)
    indices = torch.arange(30) * 5

    def erased(images: torch.Tensor, part: torch.Tensor, probability: float = 0.7, seed: int = 3) -> torch.Tensor:
        return random_erasing(images[part], indices[part], probability, seed, 4)

    every = torch.arange(30)
    whole = erased(images, every)
    for part in (torch.tensor([7]), torch.tensor([12, 7, 2]), every.flip(0)):
        assert torch.equal(erased(images, part), whole[part])
    assert not torch.equal(erased(images, every, seed=4), whole)
    assert torch.equal(erased(images, every, probability=0.0), images)
    last = random_erasing(images.contiguous(memory_format=torch.channels_last), indices, 0.7, 3, 4)
    assert torch.equal(last, whole) and last.is_contiguous(memory_format=torch.channels_last)

"""Images on their way from files to batches: packing, worker processes, and timm's own input."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from timm.data import create_transform

from pat.config import ConfigError, Data, Recipe
from pat.counter import permutation
from pat.data import FileSplit, Split, files, load
from pat.data.ahead import ahead
from pat.data.files import Held
from pat.data.pixels import STEP, Pixels, pack, unpack
from pat.tasks.classification import evaluate
from pat.views import eval_batch, train_views
from pat.views.reference import _transform
from tests import tiny

CPU = torch.device("cpu")
STATISTICS = ((0.5,) * 3, (0.25,) * 3)
SIZES = [(30, 40), (200, 90), (40, 30), (31, 300), (64, 64), (128, 128), (129, 128), (30, 41), (7, 5), (150, 150)]
FULL = Recipe(
    epochs=1,
    batch_size=6,
    lr=0.1,
    crop_scale=(0.08, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    flip=0.5,
    interpolation="random",
    label_smoothing=0.1,
    auto_augment="rand-m9-mstd0.5-inc1",
    mixup=0.8,
    cutmix=1.0,
    random_erasing=0.25,
)


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's input is made in this process where a test does not say otherwise."""
    monkeypatch.setattr("pat.views.reference.default_workers", lambda: 0)


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images of different sizes in two classes, as ImageNet lies on the disk."""
    for number, (height, width) in enumerate(SIZES):
        for part in ("train", "val"):
            file = tmp_path / "imagenet" / part / f"n{number % 2}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(height, width, number).numpy()).save(file)
    return tmp_path


def split_of(folder: Path, validation: float = 0.0, held: bool = True) -> FileSplit:
    """The train part: order n0/0, n0/2, … n1/1, n1/3, …"""
    with pytest.MonkeyPatch.context() as patch:
        if not held:
            patch.setattr(files, "HELD_BYTES", 0)
        split = load(Data("imagenet", 32 if held else 33, validation), folder).train
    assert isinstance(split, FileSplit)
    return split


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=12))
def test_packing_loses_nothing_and_pads_by_the_image_alone(sizes: list[tuple[int, int]]) -> None:
    pictures = [picture(height, width, seed) for seed, (height, width) in enumerate(sizes)]
    pixels = unpack(pack(pictures), CPU)
    assert pixels.heights.tolist() == [h for h, _ in sizes] and pixels.widths.tolist() == [w for _, w in sizes]
    found = sorted(place for places, _ in pixels.blocks for place in places.tolist())
    assert found == list(range(len(sizes)))
    for places, images in pixels.blocks:
        for place, image in zip(places.tolist(), images, strict=True):
            height, width = sizes[place]
            assert torch.equal(image[:, :height, :width].permute(1, 2, 0), pictures[place])
            assert image.shape[1:] == (-(-height // STEP) * STEP, -(-width // STEP) * STEP)
            assert not image[:, height:].any() and not image[:, :, width:].any()


def test_large_images_come_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pat.data.pixels._BLOCK_BYTES", 3 * STEP * STEP * 2)
    blocks = unpack(pack([picture(20, 20, seed) for seed in range(5)]), CPU).blocks
    assert [len(places) for places, _ in blocks] == [2, 2, 1]


def test_held_pictures_are_the_pictures() -> None:
    pictures = [picture(height, width, seed) for seed, (height, width) in enumerate(SIZES)]
    held = Held.of(pictures)
    assert all(torch.equal(held[i], pictures[i]) for i in range(len(SIZES)))


@pytest.mark.parametrize("views", ["batched", "timm"])
def test_a_view_depends_on_its_image_alone(folder: Path, views: str) -> None:
    """Not on the other images of the batch, large or small, nor on how the split was cut or is kept."""
    recipe = dataclasses.replace(FULL, mixup=0.0, cutmix=0.0, views=views)
    held, streamed = split_of(folder), dataclasses.replace(split_of(folder, held=False), workers=0)
    arguments = (recipe, 24, 2, STATISTICS, 3, 5)
    (together,) = train_views(dataclasses.replace(held, workers=0), torch.arange(10)[None], *arguments)
    alone = list(train_views(streamed, torch.arange(10)[:, None], *arguments))
    assert torch.equal(torch.cat([view.images for view in alone]), together.images)
    evaluated = [eval_batch(pixels, 24, 0.9) for pixels in streamed.stream(torch.arange(10).split(1))]
    assert torch.equal(torch.cat(evaluated), eval_batch(next(held.stream([torch.arange(10)])), 24, 0.9))


def test_worker_processes_change_nothing(folder: Path) -> None:
    """Pixels, order, the torch generator; and an image that cannot be decoded is one line here, not a traceback."""
    split = split_of(folder, held=False)
    batches = permutation(10, 0)[:6].view(1, 6).repeat(3, 1)
    before = torch.get_rng_state()
    for views in ("batched", "timm"):
        recipe = dataclasses.replace(FULL, views=views)
        made = []
        for workers in (0, 2):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("pat.views.reference.default_workers", lambda count=workers: count)
                chosen = dataclasses.replace(split, workers=workers)
                made.append(list(train_views(chosen, batches, recipe, 24, 2, STATISTICS, 3, 5)))
        for here, there in zip(*made, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    broken = folder / "imagenet" / "train" / "n1" / "3.png"
    broken.write_bytes(broken.read_bytes()[:-100])
    with pytest.raises(ConfigError, match=r"n1/3.png' cannot be decoded: .*truncated") as caught:
        list(dataclasses.replace(split, workers=2).stream(torch.arange(10).split(2)))
    assert "\n" not in str(caught.value)


def test_nothing_is_asked_of_an_empty_stream(folder: Path) -> None:
    assert list(split_of(folder).stream(())) == list(ahead(int, 0, 4)) == []
    assert list(ahead(str, 3, 0)) == ["0", "1", "2"]


def test_taking_and_sending(folder: Path) -> None:
    split = split_of(folder)
    chosen = split.take(torch.tensor([7, 2])).to(CPU)
    assert len(chosen) == 2 and chosen.labels.tolist() == [1, 0]
    assert torch.equal(chosen.picture(0), split.picture(7)) and torch.equal(chosen.picture(1), split.picture(2))
    pixels = next(chosen.stream([torch.tensor([1])]))
    ((_, images),) = pixels.blocks
    assert torch.equal(images[0, :, : pixels.heights[0], : pixels.widths[0]], split.picture(2).permute(2, 0, 1))
    assert len(split.take(split.labels == 1)) == 5


def test_a_split_in_memory_is_one_block() -> None:
    split = Split(torch.arange(4 * 3 * 5 * 6).view(4, 3, 5, 6).to(torch.uint8), torch.arange(4))
    (pixels,) = split.stream([torch.tensor([3, 1])])
    assert torch.equal(pixels.blocks[0][1], split.images[[3, 1]]) and len(pixels.blocks) == 1
    assert pixels.heights.tolist() == [5, 5] and pixels.widths.tolist() == [6, 6]
    assert torch.equal(split.picture(2), split.images[2].permute(1, 2, 0))
    assert torch.equal(Pixels.of(split.images).blocks[0][1], split.images)


class Echo(torch.nn.Module):
    """Scores each class by the mean of one channel, and notes what it sees."""

    pretrained_cfg = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "crop_pct": 0.875, "interpolation": "bilinear"}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen = images
        return images.mean((2, 3))


@pytest.mark.parametrize(("crop_pct", "of_the_model"), [(0.0, (0.875, "bilinear")), (0.9, (0.9, "bicubic"))])
def test_evaluation_sees_what_timm_shows(folder: Path, crop_pct: float, of_the_model: tuple[float, str]) -> None:
    """crop_pct = 0 is the model's own record. Images of all shapes, read from files."""
    split, model = split_of(folder), Echo()
    score = evaluate(model, split, Data("imagenet", 32, crop_pct=crop_pct), 10)
    share, interpolation = of_the_model
    transform = create_transform(32, crop_pct=share, interpolation=interpolation, use_prefetcher=True)
    expected = torch.stack([transform(Image.fromarray(split.picture(i).numpy())) for i in range(10)])
    assert (model.seen * 255 - expected).abs().max() <= 2.01
    assert score.correct.tolist() == (model.seen.mean((2, 3)).argmax(1) == split.labels).tolist()


@pytest.mark.parametrize("mode", ["batch", "elem"])
@pytest.mark.parametrize("size", [5, 8])
def test_timms_views_do_not_depend_on_the_number_of_workers(mode: str, size: int) -> None:
    split = Split(torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8), torch.arange(20) % 10)
    recipe = dataclasses.replace(FULL, views="timm", mixup_mode=mode)
    batches = permutation(20, 0)[: 2 * size].view(2, size)
    arguments = (recipe, 24, 10, STATISTICS, 3, 5)
    state = random.getstate(), torch.get_rng_state()
    whole = list(train_views(split, batches, *arguments))
    assert random.getstate() == state[0] and torch.equal(torch.get_rng_state(), state[1])
    for world in (w for w in range(2, size + 1) if size % w == 0):
        ranks = [list(train_views(split, batches, *arguments, rank, world)) for rank in range(world)]
        for step, one in enumerate(whole):
            for k, together in enumerate(one):
                assert torch.equal(torch.cat([views[step][k] for views in ranks]), together)
    assert not torch.equal(whole[0].images, whole[1].images)
    assert torch.allclose(whole[0].targets.sum(1), torch.ones(size), atol=1e-6)
    assert whole[0].targets.gt(0.02).sum(1).max() == 2


def test_timms_views_are_drawn_as_ours() -> None:
    """Without augmentation the two inputs show the same image; with crops and flips, the same on average."""
    split = Split(torch.stack([picture(32, 32, seed).permute(2, 0, 1) for seed in range(200)]), torch.arange(200) % 10)
    split.images[:, :, :, 16:] //= 2  # so that a flip can be seen
    plain = Recipe(epochs=1, batch_size=1, lr=0.1)
    cropped = dataclasses.replace(plain, crop_scale=(0.08, 1.0), crop_ratio=(3 / 4, 4 / 3), flip=0.5)

    def images(recipe: Recipe, views: str) -> torch.Tensor:
        recipe = dataclasses.replace(recipe, views=views)
        return next(train_views(split, torch.arange(200)[None], recipe, 48, 10, ((0.0,) * 3, (1.0,) * 3), 0, 0)).images

    difference = (images(plain, "batched") - images(plain, "timm")).abs() * 255
    assert difference.max() <= 2.01 and (difference > 0.01).float().mean() <= 0.005
    ours, theirs = images(cropped, "batched"), images(cropped, "timm")
    for statistic in (torch.mean, torch.std):
        assert statistic(ours).item() == pytest.approx(statistic(theirs).item(), abs=0.01)
    turned = [(x[..., :16].mean((1, 2, 3)) < x[..., 32:].mean((1, 2, 3))).float().mean() for x in (ours, theirs)]
    assert turned[0].item() == pytest.approx(turned[1].item(), abs=0.15)


def test_posterize_to_no_bits_is_black() -> None:
    """Pillow 13 refuses it; with more bits it is timm's."""
    transform = _transform(FULL, 32, STATISTICS)
    (posterize,) = [op.aug_fn for step in transform.transforms for op in getattr(step, "ops", ()) if "Post" in op.name]
    image = Image.fromarray(picture(20, 30).numpy())
    assert not np.array(posterize(image, 0, fillcolor=0)).any()
    assert np.array_equal(np.array(posterize(image, 3)), np.array(ImageOps.posterize(image, 3)))


def test_timms_input_trains(tmp_path: Path) -> None:
    """A whole run, twice: the same weights."""
    recipe = {"views": "timm", "auto_augment": "rand-m9-mstd0.5-inc1", "mixup": 0.8, "random_erasing": 0.25}
    outcomes = [tiny.run(tiny.config(epochs=1, recipe=recipe), tmp_path / name) for name in ("one", "two")]
    assert outcomes[0].student_sha256 == outcomes[1].student_sha256 and outcomes[0].status == "finished"

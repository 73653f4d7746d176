"""Views of whole images: canvases, pixels as PIL's, boxes and masks that stay in place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pat.config import ConfigError, Data, Recipe
from pat.counter import permutation
from pat.data import VOID, BoxSplit, MaskSplit, box_data, files, load, mask_data
from pat.views import Views, aspect_batches, dense_eval, dense_views, mask_eval
from pat.views.colour_jitter import colour_jitter
from pat.views.placing import canvas, train_placing
from tests.pat.dense_sets import SHARED, SIZES, box_folder, mask_folder, shortest_edge

PLAIN = ((0.0,) * 3, (1.0,) * 3)
STATISTICS = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
RECIPE = Recipe(epochs=1, batch_size=4, lr=0.1, interpolation="random", flip=0.5, sizes=(24, 40, 57), scale=(0.6, 1.7))
LONGEST = 90


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> BoxSplit:
    """Ten images; one without boxes, one with only a crowd."""
    path = box_folder(tmp_path_factory.mktemp("sets") / "farm")
    split = load(box_data(path, 32, 0.0), path.parent).test
    assert isinstance(split, BoxSplit)
    return split


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> MaskSplit:
    path = mask_folder(tmp_path_factory.mktemp("sets") / "streets")
    split = load(mask_data(path, 32, 0.0), path.parent).train
    assert isinstance(split, MaskSplit)
    return split


def views(split: Any, batches: Tensor, recipe: Recipe = RECIPE, crop: int = 0, **others: Any) -> list[Views]:
    given = {"normalise": STATISTICS, "seed": 3, "epoch": 5, "longest": LONGEST} | others
    return list(dense_views(split, batches, recipe, 48, given.pop("longest"), crop, **given))


def alone(made: Sequence[Views]) -> dict[int, dict[str, Tensor]]:
    """What is shown of each image, without padding, by its index. Padding is checked."""
    found = {}
    for indices, images, targets in made:
        assert images.is_contiguous(memory_format=torch.channels_last) and images.dtype == torch.float32
        assert len(targets) == len(indices) == len(images)
        for place, index in enumerate(indices.tolist()):
            height, width = targets.sizes[place].tolist()
            found[index] = {"image": images[place, :, :height, :width]}
            assert not images[place, :, height:].any() and not images[place, :, :, width:].any()
            if hasattr(targets, "masks"):
                mask = targets.masks[place]
                assert (mask[height:] == VOID).all() and (mask[:, width:] == VOID).all() and mask.dtype == torch.int64
                found[index]["mask"] = mask[:height, :width]
            else:
                found[index] |= {"boxes": targets.image(place)[0], "labels": targets.image(place)[1]}
                found[index]["key"] = targets.keys[place]
    return found


def same(one: dict[int, dict[str, Tensor]], other: dict[int, dict[str, Tensor]]) -> bool:
    pairs = [(one[index][key], other[index][key]) for index in one for key in one[index]]
    return one.keys() == other.keys() and all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("kind", "crop"), [("boxes", 0), ("masks", 0), ("masks", 32)])
def test_a_view_depends_on_its_image_alone(kind: str, crop: int, request: pytest.FixtureRequest) -> None:
    """Not on neighbours, order, batch size or workers; all workers have one canvas."""
    split = request.getfixturevalue(kind)
    recipe = dataclasses.replace(RECIPE, color_jitter=0.4)
    batches = permutation(10, 0)[:8].view(2, 4)
    whole = views(split, batches, recipe, crop)
    shown = alone(whole)
    assert len(shown) == 8
    assert same(shown, alone(views(split, batches.flatten()[:, None], recipe, crop)))
    assert same(shown, alone(views(split, batches.flatten().flip(0)[None], recipe, crop)))
    for world in (2, 4):
        parts = [views(split, batches, recipe, crop, rank=rank, world=world) for rank in range(world)]
        for step, together in enumerate(whole):
            assert torch.equal(torch.cat([part[step].indices for part in parts]), together.indices)
            assert torch.equal(torch.cat([part[step].images for part in parts]), together.images)
            assert torch.equal(torch.cat([part[step].targets.sizes for part in parts]), together.targets.sizes)
        assert same({k: v for part in parts for k, v in alone(part).items()}, shown)
    for change in ({"seed": 4}, {"epoch": 6}):
        other = alone(views(split, batches, recipe, crop, **change))
        assert sum(not same({i: shown[i]}, {i: other[i]}) for i in shown) == 8


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_how_a_split_is_kept_changes_nothing(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory, in files, decoded by other processes, or cut out of a larger split."""
    split = request.getfixturevalue(kind)
    monkeypatch.setattr(files, "HELD_BYTES", 0)
    path = box_folder(tmp_path / "farm") if kind == "boxes" else mask_folder(tmp_path / "streets")
    data = (box_data if kind == "boxes" else mask_data)(path, 33, 0.0)
    dataset = load(data, tmp_path)
    streamed = dataset.test if kind == "boxes" else dataset.train
    batches = permutation(10, 1).view(2, 5)
    expected = alone(views(split, batches))
    for workers in (0, 2):
        assert same(alone(views(dataclasses.replace(streamed, workers=workers), batches)), expected)
    some = torch.tensor([8, 2, 5])
    there, here = alone(views(split.take(some), torch.tensor([[0, 1, 2]]))), alone(views(split, some[None]))
    assert there[0]["image"].shape != here[8]["image"].shape  # its number in the split is its seed
    broken = path / ("val/4.png" if kind == "boxes" else "masks/train/4.png")
    broken.write_bytes(broken.read_bytes()[:-40])
    with pytest.raises(ConfigError, match="4.png' cannot be decoded"):
        views(streamed, batches)


def resized_by_pil(picture: Tensor, size: Sequence[int], kernel: int) -> np.ndarray:
    return np.array(Image.fromarray(picture.numpy()).resize((size[1], size[0]), kernel))


@pytest.mark.parametrize("crop", [0, 25, 64])
def test_pixels_are_pils(masks: MaskSplit, crop: int) -> None:
    """Resized, cut, turned. Images within rounding, masks exactly. Both kernels, larger and smaller."""
    batch = torch.arange(10)
    recipe = dataclasses.replace(RECIPE, sizes=(17, 64, 101))
    placing = train_placing(masks.sizes, batch, recipe, 48, 150, crop, 3, 5)
    assert placing.flip.any() and not placing.flip.all() and placing.cubic.any() and not placing.cubic.all()
    shown = alone(views(masks, batch[None], recipe, crop, normalise=PLAIN, longest=150))
    differing = 0.0
    for i in range(10):
        kernel = Image.Resampling.BICUBIC if placing.cubic[i] else Image.Resampling.BILINEAR
        size, (top, left), (height, width) = (x[i].tolist() for x in (placing.full, placing.corner, placing.size))
        picture = masks.picture(i)
        for name, expected in (
            ("image", resized_by_pil(picture[..., :3], size, kernel)),
            ("mask", resized_by_pil(picture[..., 3], size, Image.Resampling.NEAREST)),
        ):
            expected = expected[top : top + height, left : left + width]
            expected = expected[:, ::-1] if placing.flip[i] else expected
            if name == "mask":
                assert np.array_equal(shown[i]["mask"].numpy(), expected)
                continue
            difference = (shown[i]["image"] * 255 - torch.from_numpy(expected.copy()).permute(2, 0, 1)).abs()
            assert difference.max() <= 2.01
            differing += (difference > 0.01).float().mean().item() / 10
    assert differing < 0.02


def test_normalisation_and_jitter(boxes: BoxSplit) -> None:
    """The jitter is that of the image without padding; then (levels - mean) / deviation."""
    batches = torch.arange(10).view(1, 10)
    plain = alone(views(boxes, batches, normalise=PLAIN))
    jittered = alone(views(boxes, batches, dataclasses.replace(RECIPE, color_jitter=0.4)))
    mean, std = (torch.tensor(values)[:, None, None] for values in STATISTICS)
    for index in plain:
        levels = (plain[index]["image"] * 255).round().to(torch.uint8)[None].contiguous()
        expected = colour_jitter(levels, torch.tensor([index]), 0.4, 3, 5)[0].float() / 255
        assert torch.allclose(jittered[index]["image"], (expected - mean) / std, atol=1e-5)
        assert not torch.equal(levels, (expected * 255).round().to(torch.uint8)[None])


def test_the_canvas_is_the_smallest(boxes: BoxSplit, masks: MaskSplit) -> None:
    for split in (boxes, masks):
        for view in views(split, permutation(10, 2).view(5, 2)):
            height, width = view.images.shape[2:]
            tallest, widest = view.targets.sizes.amax(0).tolist()
            assert height % 32 == width % 32 == 0 and 0 <= height - tallest < 32 and 0 <= width - widest < 32
    assert canvas(torch.tensor([[32, 33], [5, 64]])) == (32, 64) and canvas(torch.tensor([[33, 1]])) == (64, 32)
    for view in views(masks, permutation(10, 2).view(5, 2), crop=40):
        assert view.images.shape[2:] == view.targets.masks.shape[1:] == (64, 64)
        assert view.targets.sizes.max() <= 40


def test_boxes_go_where_their_image_goes(boxes: BoxSplit) -> None:
    """To the canvas and back, each axis at its own scale, turned or not; crowds are not told, the rest is in order."""
    batch = torch.arange(10)
    (view,) = views(boxes, batch[None])
    placing = train_placing(boxes.sizes, batch, RECIPE, 48, LONGEST, 0, 3, 5)
    assert torch.equal(view.targets.sizes, placing.full) and len({tuple(row) for row in placing.full.tolist()}) > 5
    assert view.targets.counts[1] == view.targets.counts[2] == 0 and view.targets.boxes.dtype == torch.float32
    assert len(view.targets.keys.unique()) == 10 and placing.flip.any() and not placing.flip.all()
    for i in range(10):
        height, width = placing.full[i].tolist()
        down, across = height / SIZES[i][0], width / SIZES[i][1]
        back, labels = view.targets.image(i)
        back = back.double()
        if placing.flip[i]:
            back = torch.stack([width - back[:, 2], back[:, 1], width - back[:, 0], back[:, 3]], 1)
        back = back / torch.tensor([across, down, across, down])
        mine = boxes.boxes.take(torch.tensor([i]))
        mine = mine.only(~mine.crowd)
        assert torch.equal(labels, mine.labels)
        assert torch.allclose(back.float(), mine.boxes, rtol=0, atol=1e-4)
        assert (view.targets.image(i)[0][:, 2:] > view.targets.image(i)[0][:, :2]).all()


def rectangle(size: Sequence[int], box: Sequence[int]) -> Tensor:
    """A picture that is white inside a box and black outside."""
    picture = torch.zeros(*size, 3, dtype=torch.uint8)
    left, top, right, bottom = box
    picture[top:bottom, left:right] = 255
    return picture


def test_a_box_still_surrounds_its_object(boxes: BoxSplit) -> None:
    """Read off the pixels: the sum of the light is the box's area, its middle the box's middle."""
    drawn = [[5, 6, 9 + 2 * i, 20 + i] for i in range(len(SIZES))]
    pictures = [rectangle(size, box) for size, box in zip(SIZES, drawn, strict=True)]
    one = torch.ones(10, dtype=torch.int64)
    objects = dataclasses.replace(
        boxes.boxes, boxes=torch.tensor(drawn).float(), labels=one, crowd=one == 0, area=one.double(), counts=one
    )
    split = dataclasses.replace(boxes, pictures=pictures, rows=torch.arange(10), boxes=objects)
    for i, shown in alone(views(split, torch.arange(10).view(5, 2), normalise=PLAIN)).items():
        light, (left, top, right, bottom) = shown["image"][0].double(), shown["boxes"][0].tolist()
        rows, columns = (torch.arange(length) + 0.5 for length in light.shape)
        assert light.sum() == pytest.approx((right - left) * (bottom - top), rel=0.03), i
        assert (light.sum(0) * columns).sum() / light.sum() == pytest.approx((left + right) / 2, abs=0.15)
        assert (light.sum(1) * rows).sum() / light.sum() == pytest.approx((top + bottom) / 2, abs=0.15)


def test_a_mask_still_lies_on_its_object(masks: MaskSplit) -> None:
    """Where a picture's level is that of its class, it is so in the view, but at the edges."""
    pictures = []
    for i in range(10):
        mask = masks.picture(i)[..., 3:]
        pictures.append(torch.cat([mask.repeat(1, 1, 3), mask], 2))
    split = dataclasses.replace(masks, pictures=pictures, rows=torch.arange(10))
    recipe = dataclasses.replace(RECIPE, scale=(1.0, 3.0), interpolation="bilinear")
    for crop in (0, 64):
        for shown in alone(views(split, torch.arange(10)[None], recipe, crop, normalise=PLAIN, longest=0)).values():
            agree = ((shown["image"][0] * 255).round().long() == shown["mask"]).float().mean()
            assert agree > 0.5


def scored(made: Iterator[Any]) -> dict[int, Tensor]:
    found = {}
    for indices, images, sizes in made:
        for index, image, (height, width) in zip(indices.tolist(), images, sizes.tolist(), strict=True):
            assert not image[:, height:].any() and not image[:, :, width:].any()
            found[index] = image[:, :height, :width]
    return found


def test_scoring_sees_all_images_once(boxes: BoxSplit, masks: MaskSplit) -> None:
    """Whatever the batch size and the number of workers; the pixels are PIL's, bilinear."""
    for split in (boxes, masks):
        whole = scored(dense_eval(split, 40, LONGEST, PLAIN, 4))
        assert sorted(whole) == list(range(10))
        for i, image in whole.items():
            size = shortest_edge(*split.sizes[i].tolist(), 40, LONGEST)
            expected = resized_by_pil(split.picture(i)[..., :3], size, Image.Resampling.BILINEAR)
            assert (image * 255 - torch.from_numpy(expected).permute(2, 0, 1)).abs().max() <= 1.01
        parts = [list(dense_eval(split, 40, LONGEST, PLAIN, 3, rank, 2)) for rank in range(2)]
        assert [len(part) for part in parts] == [2, 2]
        again = scored(iter([shown for part in parts for shown in part]))
        assert again.keys() == whole.keys() and all(torch.equal(again[i], whole[i]) for i in whole)
    for shown, theirs in mask_eval(masks, 40, LONGEST, PLAIN, 4):
        assert len(theirs) == len(shown.indices)
        for index, mask in zip(shown.indices.tolist(), theirs, strict=True):
            assert torch.equal(mask, masks.picture(index)[..., 3])


def test_scoring_pads_little(boxes: BoxSplit) -> None:
    """Fewer pixels than batches in the order of the set have."""
    in_order = views(boxes, torch.arange(10).view(5, 2), Recipe(epochs=1, batch_size=2, lr=0.1), longest=0)
    together = dense_eval(boxes, 48, 0, PLAIN, 2)
    assert sum(shown.images.numel() for shown in together) < sum(view.images.numel() for view in in_order)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real images beside the checkout")
@pytest.mark.parametrize(("name", "folder"), [("coco", "coco-tiny"), ("camvid", "camvid-mini")])
def test_real_images(name: str, folder: str, tmp_path: Path) -> None:
    """A whole epoch and a whole scoring of real photographs."""
    (tmp_path / name).symlink_to(SHARED / folder)
    dataset = load(Data(name, 96), tmp_path)
    batches = aspect_batches(dataset.train.sizes, 4, 0, 0)
    recipe = dataclasses.replace(RECIPE, sizes=(96, 128), scale=(0.8, 1.25))
    made = views(dataset.train, batches, recipe, crop=96 if name == "camvid" else 0, longest=200)
    assert len(made) == len(dataset.train) // 4
    for view in made:
        assert view.images.isfinite().all() and view.images.std() == pytest.approx(1, abs=0.7)
        if name == "coco":
            assert min(view.targets.counts) > 0 and view.targets.labels.min() >= 1 and view.targets.labels.max() <= 80
            limits = view.targets.sizes.repeat_interleave(torch.tensor(view.targets.counts), 0).flip(1)
            assert (view.targets.boxes >= 0).all() and (view.targets.boxes[:, 2:] <= limits + 1e-3).all()
        else:
            assert set(view.targets.masks.unique().tolist()) <= {*range(11), VOID}
    assert sorted(scored(dense_eval(dataset.test, 96, 200, PLAIN, 8))) == list(range(len(dataset.test)))

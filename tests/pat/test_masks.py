"""Masks and the segmentation sets: own folders, CamVid, Pascal VOC, ADE20K, and what of them is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pat.config import ConfigError, Data, DataError
from pat.data import VOID, MaskSplit, MaskTargets, files, folder_data, load, mask_data, own_data, truths_of
from pat.data.masks import Values
from tests.pat.dense_sets import SHARED, SIZES, box_folder, mask_folder, mask_of, pixels


def load_own(path: Path, validation: float = 0.0, size: int = 32) -> Any:
    return load(mask_data(path, size, validation), path.parent)


def place_of(number: int) -> str:
    return ("town/" if number % 3 == 0 else "") + str(number)


ORDER = sorted(range(10), key=lambda number: place_of(number) + ".bmp")
"""The images of `mask_folder` in the order of their names."""


@pytest.mark.parametrize("held", [True, False])
def test_what_is_read(held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not held:
        monkeypatch.setattr(files, "HELD_BYTES", 0)
        monkeypatch.setattr(files, "default_workers", lambda: 0)
    path = mask_folder(tmp_path / "streets")
    data = own_data(path, 32 + held, 0.2)
    assert data == mask_data(path, 32 + held, 0.2) and data.name == "masks:streets" and truths_of(data) == "masks"
    dataset = load(data, tmp_path)
    assert (len(dataset.train), len(dataset.val), len(dataset.test), dataset.num_classes) == (8, 2, 10, 5)
    assert isinstance(dataset.test, MaskSplit) and dataset.test.strata.tolist() == [0] * 10
    for i, number in enumerate(ORDER):
        height, width = SIZES[number]
        picture = dataset.test.picture(i)
        assert picture.shape == (height, width, 4) and dataset.test.sizes[i].tolist() == [height, width]
        assert np.array_equal(picture[..., :3].numpy(), pixels(height, width, 10 + number))
        assert np.array_equal(picture[..., 3].numpy(), mask_of(height, width, 10 + number))
    (streamed,) = dataset.test.stream([torch.tensor([3, 0])])
    shown = streamed.pictures(dataset.test.sizes[[3, 0]])
    assert torch.equal(shown[0], dataset.test.picture(3).permute(2, 0, 1))
    assert torch.equal(shown[1], dataset.test.picture(0).permute(2, 0, 1))
    chosen = dataset.test.take(torch.tensor([7, 2])).to(torch.device("cpu"))
    assert torch.equal(chosen.sizes, dataset.test.sizes[[7, 2]])
    assert torch.equal(chosen.picture(1), dataset.test.picture(2))


def test_targets_are_cut_as_the_images_are() -> None:
    targets = MaskTargets(torch.arange(5 * 4 * 6).view(5, 4, 6), torch.arange(10).view(5, 2))
    for parts in (1, 2, 3, 5, 7):
        cut = targets.chunk(parts)
        assert [len(part) for part in cut] == [len(part) for part in torch.arange(5).chunk(parts)]
        assert torch.equal(torch.cat([part.masks for part in cut]), targets.masks)
        assert torch.equal(torch.cat([part.sizes for part in cut]), targets.sizes)


def test_what_values_mean() -> None:
    every = np.arange(256, dtype=np.uint8)
    ade = Values.of(150, [0], first=1)
    assert ade.classes(every[:151], Path("m")).tolist() == [VOID, *range(150)]
    camvid = Values.of(11, [11, VOID])
    assert camvid.classes(every[[0, 10, 11, 255]], Path("m")).tolist() == [0, 10, VOID, VOID]
    with pytest.raises(DataError, match="mask 'm' holds the value 12: a class or void is one of 0-11, 255"):
        camvid.classes(every, Path("m"))
    with pytest.raises(DataError, match="holds the value 151: a class or void is one of 0-150$"):
        ade.classes(every, Path("m"))
    assert Values.of(255).classes(every, Path("m")).tolist() == [*range(255), VOID]


def test_named_classes(tmp_path: Path) -> None:
    path = mask_folder(tmp_path / "streets")
    unnamed = mask_data(path, 32)
    (path / "classes.txt").write_text("road\n\ncar\nsky\n void = 4\nvoid=3\n")
    named = mask_data(path, 32)
    assert named.fingerprint != unnamed.fingerprint
    with pytest.raises(DataError, match="'.*streets' has changed: fingerprint"):
        load(unnamed, tmp_path)
    dataset = load(named, tmp_path)
    assert dataset.num_classes == 3
    mask = mask_of(*SIZES[ORDER[0]], 10 + ORDER[0])
    assert np.array_equal(dataset.test.picture(0)[..., 3].numpy(), np.where(mask > 2, VOID, mask))
    for text, line in (
        ("a\nvoid = 5x\n", r"classes.txt': line 'void = 5x': void = a value from 0 to 255"),
        ("a\nvoid = 256\n", r"line 'void = 256': void = a value"),
        ("a\nb\nvoid = 1\n", r"classes.txt': void = 1 is the value of a class; 2 are named"),
        ("a\n" * 256, r"classes.txt' names 256 classes; masks of 8 bits hold 255 at most"),
        ("void = 7\n", r"streets' has no class in classes.txt or masks/train/"),
        ("road\ncar\nsky\n", r"mask '.*png' holds the value [34]: a class or void is one of 0-2, 255"),
    ):
        (path / "classes.txt").write_text(text)
        with pytest.raises(ConfigError, match=line) as caught:
            load_own(path)
        assert "\n" not in str(caught.value)


def save(path: Path, array: np.ndarray, mode: str | None = None) -> None:
    Image.fromarray(array).convert(mode).save(path) if mode else Image.fromarray(array).save(path)


WRONG: list[tuple[Callable[[Path], Any], str]] = [
    (lambda p: (p / "masks/train/4.png").unlink(), r"image '.*images/train/4.bmp' has no mask in '.*masks/train'"),
    (lambda p: (p / "images/val/town/3.bmp").unlink(), r"mask '.*val/town/3.png' has no image in '.*images/val'"),
    (
        lambda p: save(p / "masks/val/4.png", np.zeros((64, 65), np.uint8)),
        r"mask '.*masks/val/4.png' is 65 x 64 pixels, its image '.*images/val/4.bmp' 64 x 64",
    ),
    (
        lambda p: save(p / "masks/val/4.png", np.full((64, 64), 5, np.uint8)),
        r"mask '.*masks/val/4.png' holds the value 5: a class or void is one of 0-4, 255",
    ),
    (
        lambda p: save(p / "masks/val/4.png", pixels(64, 64, 0)),
        r"masks/val/4.png' is of Pillow's mode RGB: 8-bit class",
    ),
    (
        lambda p: save(p / "masks/train/4.png", np.zeros((64, 64), np.uint16)),
        r"masks/train/4.png' is of Pillow's mode I;16: 8-bit class numbers \(L or P\) needed",
    ),
    (
        lambda p: (p / "masks/train/4.png").write_bytes(b"no"),
        r"image '.*masks/train/4.png' cannot be decoded: no known",
    ),
    (lambda p: (p / "images/val/4.bmp").write_bytes(b"no"), r"image '.*images/val/4.bmp' cannot be decoded: no known"),
    (lambda p: [file.unlink() for file in (p / "images/val").rglob("*.bmp")], r"mask '.*png' has no image in '.*val'"),
    (
        lambda p: [file.unlink() for file in p.rglob("val/**/*.*")],
        r"data set folder '.*streets' holds no images",
    ),
]


@pytest.mark.parametrize(("change", "line"), WRONG, ids=[line[:40] for _, line in WRONG])
def test_what_is_refused(change: Callable[[Path], Any], line: str, tmp_path: Path) -> None:
    path = mask_folder(tmp_path / "streets")
    change(path)
    with pytest.raises(ConfigError, match=line) as caught:
        load_own(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("held", [True, False])
def test_unreadable_pairs_are_left_out(held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the header of the mask, or by the end of the image."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if not held:
        monkeypatch.setattr(files, "HELD_BYTES", 0)
        monkeypatch.setattr(files, "default_workers", lambda: 0)
    path = mask_folder(tmp_path / "streets")
    (path / "masks/train/4.png").write_bytes(b"no image")
    whole = (path / "images/train/5.bmp").read_bytes()
    (path / "images/train/5.bmp").write_bytes(whole[:-500])
    with pytest.raises(DataError, match="masks/train/4.png' cannot be decoded"):
        load_own(path, size=40 + held)
    dataset = load(dataclasses.replace(mask_data(path, 50 + held, 0.0), unreadable="skip"), tmp_path)
    left = [number for number in ORDER if number not in (4, 5)]
    assert dataset.skipped == 2 and dataset.train.sizes.tolist() == [list(SIZES[number]) for number in left]
    assert [list(dataset.train.picture(i).shape[:2]) for i in range(8)] == dataset.train.sizes.tolist()


def test_the_three_kinds_of_own_data(tmp_path: Path) -> None:
    masks, boxes, classes = mask_folder(tmp_path / "masks"), box_folder(tmp_path / "boxes"), tmp_path / "classes"
    for part in ("train", "val"):
        (classes / part / "cat").mkdir(parents=True)
        save(classes / part / "cat" / "0.png", pixels(9, 9, 0))
    assert own_data(classes, 32, 0.0) == folder_data(classes, 32, 0.0) and truths_of(own_data(classes, 32)) == "labels"
    assert [truths_of(own_data(path, 32)) for path in (masks, boxes)] == ["masks", "boxes"]
    with pytest.raises(
        DataError, match=r"'.*nothing': neither a known name nor a folder with train/<class>/ and"
    ) as no:
        own_data(tmp_path / "nothing", 32)
    assert "\n" not in str(no.value)
    (masks / "masks" / "val").rename(masks / "masks" / "test")
    with pytest.raises(
        DataError, match="masks' lacks masks/val/: images/ and masks/ are needed, each with train/ and v"
    ):
        own_data(masks, 32)


def test_pascal_voc(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data set voc not found in '.*VOCdevkit/VOC2012': JPEGImages/, Segmentation"):
        load(Data("voc", 32), tmp_path)
    path = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (path / folder).mkdir(parents=True)
    for number, (height, width) in enumerate(SIZES):
        save(path / "JPEGImages" / f"2007_{number}.jpg", pixels(height, width, number))
        mask = Image.fromarray(mask_of(height, width, number, 21))
        mask.putpalette([*range(256)] * 3)
        mask.save(path / "SegmentationClass" / f"2007_{number}.png")
    (path / "ImageSets/Segmentation/train.txt").write_text("2007_3\n2007_0\n2007_7\n")
    (path / "ImageSets/Segmentation/val.txt").write_text("2007_8\n2007_1\n")
    dataset = load(Data("voc", 32, 0.0), tmp_path)
    assert (len(dataset.train), len(dataset.test), dataset.num_classes) == (3, 2, 21)
    assert np.array_equal(dataset.train.picture(2)[..., 3].numpy(), mask_of(*SIZES[7], 7, 21))
    assert truths_of(Data("voc", 32)) == "masks"
    (path / "ImageSets/Segmentation/val.txt").write_text("2007_8\n2008_1\n")
    with pytest.raises(DataError, match=r"file '.*JPEGImages/2008_1.jpg' is missing; '.*val.txt' names it"):
        load(Data("voc", 33, 0.0), tmp_path)
    (path / "ImageSets/Segmentation/val.txt").write_text("")
    with pytest.raises(DataError, match="VOC2012' holds no images"):
        load(Data("voc", 34, 0.0), tmp_path)


def test_ade20k(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="data set ade20k not found in '.*ADEChallengeData2016': images/{training,valid"
    ):
        load(Data("ade20k", 32), tmp_path)
    path = tmp_path / "ADEChallengeData2016"
    for part, ids in (("training", (0, 1, 2)), ("validation", (3, 4))):
        for folder in ("images", "annotations"):
            (path / folder / part).mkdir(parents=True)
        for number in ids:
            height, width = SIZES[number]
            save(path / "images" / part / f"ADE_{number}.jpg", pixels(height, width, number))
            raw = np.random.default_rng(number).integers(0, 151, (height, width), dtype=np.uint8)
            save(path / "annotations" / part / f"ADE_{number}.png", raw)
    dataset = load(Data("ade20k", 32, 0.0), tmp_path)
    assert (len(dataset.train), len(dataset.test), dataset.num_classes) == (3, 2, 150)
    raw = np.random.default_rng(4).integers(0, 151, SIZES[4], dtype=np.uint8).astype(int)
    assert np.array_equal(dataset.test.picture(1)[..., 3].numpy(), np.where(raw == 0, VOID, raw - 1))


def test_camvid_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="data set '.*camvid' lacks images/train/: images/ and masks/ are needed, each w"
    ):
        load(Data("camvid", 32), tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real images beside the checkout")
def test_real_masks(tmp_path: Path) -> None:
    """CamVid as the named set, 11 classes; as own data without classes.txt, its void is a class."""
    (tmp_path / "camvid").symlink_to(SHARED / "camvid-mini")
    dataset = load(Data("camvid", 64), tmp_path)
    assert (len(dataset.train), len(dataset.val), len(dataset.test), dataset.num_classes) == (16, 2, 8, 11)
    file = sorted((SHARED / "camvid-mini" / "masks" / "val").iterdir())[3]
    raw = np.array(Image.open(file))
    assert np.array_equal(dataset.test.picture(3)[..., 3].numpy(), np.where(raw == 11, VOID, raw))
    assert (raw == 11).any() and dataset.test.sizes.tolist() == [[360, 480]] * 8
    assert load(mask_data(tmp_path / "camvid", 64), tmp_path).num_classes == 12

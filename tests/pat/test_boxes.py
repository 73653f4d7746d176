"""Ragged boxes, and detection sets of the COCO layout: what is read, what is left out, what is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pat.config import ConfigError, Data, DataError
from pat.data import Boxes, BoxSplit, BoxTargets, box_data, files, load, own_data, truths_of
from tests.pat.dense_sets import SHARED, SIZES, annotations, box_folder, pixels, read, write

Content = dict[str, Any]


def numbered(counts: list[int]) -> Boxes:
    """Boxes that can be told apart: label m, in image n."""
    total = sum(counts)
    number = torch.arange(total)
    boxes = number[:, None].float() + torch.tensor([0.0, 0.25, 0.5, 0.75])
    return Boxes(boxes, number, number % 3 == 0, number.double() * 2, torch.tensor(counts, dtype=torch.int64))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 4), max_size=8), st.data())
def test_boxes_follow_their_images(counts: list[int], data: st.DataObject) -> None:
    """`take` and `only` against lists of lists."""
    boxes = numbered(counts)
    ends = torch.tensor(counts, dtype=torch.int64).cumsum(0).tolist()
    lists = [list(range(end - count, end)) for end, count in zip(ends, counts, strict=True)]
    chosen = data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=6) if counts else st.just([]))
    taken = boxes.take(torch.tensor(chosen, dtype=torch.int64))
    assert taken.labels.tolist() == [label for i in chosen for label in lists[i]]
    assert len(taken) == len(chosen) and taken.counts.tolist() == [counts[i] for i in chosen]
    assert torch.equal(taken.boxes, boxes.boxes[taken.labels]) and torch.equal(taken.area, taken.labels * 2.0)
    assert taken.images.tolist() == [place for place, i in enumerate(chosen) for _ in lists[i]]
    mask = torch.zeros(len(counts), dtype=torch.bool)
    mask[chosen] = True
    assert torch.equal(boxes.take(mask).labels, boxes.take(torch.nonzero(mask).flatten()).labels)
    few = boxes.only(~boxes.crowd)
    assert few.labels.tolist() == [label for label in range(len(boxes.labels)) if label % 3]
    assert few.counts.tolist() == [sum(label % 3 > 0 for label in labels) for labels in lists]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.integers(1, 4))
def test_targets_are_cut_as_the_images_are(counts: list[int], parts: int) -> None:
    boxes = numbered(counts)
    images = torch.arange(len(counts))
    targets = BoxTargets(boxes.boxes, boxes.labels, tuple(counts), images[:, None].repeat(1, 2), images)
    cut, expected = targets.chunk(parts), images.chunk(parts)
    assert [part.keys.tolist() for part in cut] == [part.tolist() for part in expected]
    assert [len(part) for part in cut] == [len(part) for part in expected]
    assert torch.equal(torch.cat([part.boxes for part in cut]), boxes.boxes)
    assert torch.equal(torch.cat([part.sizes for part in cut]), targets.sizes)
    for i in range(len(counts)):
        rows = boxes.images == i
        assert torch.equal(targets.image(i)[0], boxes.boxes[rows]) and torch.equal(
            targets.image(i)[1], boxes.labels[rows]
        )


def load_own(path: Path, validation: float = 0.0) -> Any:
    return load(box_data(path, 32, validation), path.parent)


def test_what_is_read(tmp_path: Path) -> None:
    path = box_folder(tmp_path / "farm")
    data = own_data(path, 32, 0.2)
    assert data == box_data(path, 32, 0.2) and data.name == "boxes:farm" and truths_of(data) == "boxes"
    dataset = load(data, tmp_path)
    assert isinstance(dataset.train, BoxSplit) and dataset.num_classes == 3
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (6, 2, 10)  # 101 and 102 have nothing to learn
    together = sorted([*dataset.train.ids.tolist(), *dataset.val.ids.tolist()])
    assert together == [100, *range(103, 110)]
    content = annotations(0)
    for part in (dataset.train, dataset.val):
        assert part.strata.tolist() == [0] * len(part) and part.device == torch.device("cpu")
        for i, number in enumerate(part.ids.tolist()):
            height, width = SIZES[number - 100]
            assert part.sizes[i].tolist() == [height, width]
            expected = torch.from_numpy(pixels(height, width, number - 100))
            assert torch.equal(part.picture(i), expected)
            theirs = [entry for entry in content["annotations"] if entry["image_id"] == number]
            mine = part.boxes.take(torch.tensor([i]))
            assert mine.labels.tolist() == [{3: 1, 7: 2, 90: 3}[entry["category_id"]] for entry in theirs]
            assert mine.crowd.tolist() == [entry["iscrowd"] == 1 for entry in theirs]
            for box, entry in zip(mine.boxes.tolist(), theirs, strict=True):
                x, y, w, h = entry["bbox"]
                clipped = [max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)]
                assert box == pytest.approx(clipped, abs=1e-4)
    test = dataset.test
    assert test.ids.tolist() == list(range(100, 110)) and test.boxes.counts.tolist()[:4] == [1, 0, 1, 5]
    assert int(test.boxes.crowd.sum()) == 2 and (test.boxes.area == 12.5).all()
    assert (test.boxes.boxes < 0).any()  # as written: this is what detections are measured with


def test_taking_and_sending(tmp_path: Path) -> None:
    split = load_own(box_folder(tmp_path / "farm")).test
    chosen = split.take(torch.tensor([8, 0])).to(torch.device("cpu"))
    assert len(chosen) == 2 and chosen.ids.tolist() == [108, 100] and chosen.sizes.tolist() == [[130, 129], [30, 44]]
    assert torch.equal(chosen.picture(1), split.picture(0)) and len(chosen.boxes) == 2
    assert torch.equal(chosen.boxes.boxes[1:], split.boxes.take(torch.tensor([0])).boxes)
    assert len(split.take(split.ids > 104)) == 5


def test_area_and_crowd_may_be_left_out(tmp_path: Path) -> None:
    path, content = box_folder(tmp_path / "farm"), annotations(1)
    for entry in content["annotations"]:
        del entry["area"], entry["iscrowd"]
    write(path, "val", content)
    boxes = load_own(path).test.boxes
    extent = boxes.boxes[:, 2:] - boxes.boxes[:, :2]
    assert not boxes.crowd.any() and torch.allclose(boxes.area, extent.prod(1).double(), rtol=1e-4)


def test_the_fingerprint_knows_images_and_annotations(tmp_path: Path) -> None:
    path = box_folder(tmp_path / "farm")
    data, content = box_data(path, 32), read(path, "val")
    content["annotations"][0]["category_id"] = 3 + 4 * (content["annotations"][0]["category_id"] == 3)
    write(path, "val", content)
    with pytest.raises(DataError, match="'.*farm' has changed: fingerprint"):
        load(data, tmp_path)
    second = box_data(path, 32).fingerprint
    (path / "train" / "0.png").rename(path / "train" / "new.png")
    assert len({data.fingerprint, second, box_data(path, 32).fingerprint}) == 3


def of_annotation(**fields: Any) -> Callable[[Content], None]:
    return lambda content: content["annotations"][4].update(fields)


def of_image(**fields: Any) -> Callable[[Content], None]:
    return lambda content: content["images"][4].update(fields)


def no_boxes(content: Content) -> None:
    content["annotations"] = [entry for entry in content["annotations"] if entry["iscrowd"]]


WRONG: list[tuple[str, Callable[[Content], Any], str]] = [
    ("train", lambda content: content.pop("images"), "instances_train.json' has no list 'images'"),
    ("val", lambda content: content.update(images=[], annotations=[]), "val' holds no images"),
    ("train", of_image(height="30"), "image 104: height = '30' is not a whole number"),
    ("train", lambda content: content["images"][4].pop("width"), "image 104: width is missing"),
    ("train", of_image(width=0), "image 104 has no pixels"),
    ("train", of_image(id=101), "image 101 is there twice"),
    ("val", of_image(file_name="gone.png"), r"image '.*val/gone.png' is missing; '.*instances_val.json' names it"),
    ("val", of_image(file_name="far/4.png"), r"image '.*val/far/4.png' is missing"),
    ("train", of_image(height=65), r"image '.*4.png' is 64 x 64 pixels, '.*instances_train.json' says 64 x 65"),
    ("train", of_annotation(category_id=5), r"annotation 1004: category_id = 5 is not one of the categories"),
    ("val", of_annotation(image_id=99), r"annotation 1004: image_id = 99 is not one of the images"),
    ("train", of_annotation(bbox=[1, 2, 3]), r"annotation 1004: bbox = \[1, 2, 3\] is not four numbers"),
    ("train", of_annotation(bbox="1 2 3 4"), r"annotation 1004: bbox = '1 2 3 4' is not a list"),
    ("train", of_annotation(bbox=[3, 2, 5, 0]), r"the box of annotation 1004, x 3.0 to 8.0 and y 2.0 to 2.0, has no e"),
    (
        "val",
        of_annotation(bbox=[500, 2, 5, 4]),
        r"annotation 1004, x 500.0 to 505.0 and .* extent in its image '.*png'",
    ),
    ("train", of_annotation(bbox=[float("nan"), 2, 5, 4]), "the box of annotation 1004, x nan to nan"),
    (
        "val",
        lambda c: c["categories"].append({"id": 8, "name": "owl"}),
        r"category 8 \('owl'\) is not one of instances_t",
    ),
    (
        "val",
        lambda c: c["categories"][0].update(name="owl"),
        r"category 7 \('owl'\) is not one of instances_train.json",
    ),
    ("train", lambda content: content["categories"].append("owl"), "category 'owl' is no object of fields"),
    ("train", no_boxes, "instances_train.json': no image has a box"),
]


@pytest.mark.parametrize(("part", "change", "line"), WRONG, ids=[line[:30] for *_, line in WRONG])
def test_what_is_refused(part: str, change: Callable[[Content], Any], line: str, tmp_path: Path) -> None:
    path = box_folder(tmp_path / "farm")
    content = read(path, part)
    change(content)
    write(path, part, content)
    with pytest.raises(ConfigError, match=line) as caught:
        load_own(path)
    assert "\n" not in str(caught.value)


def test_annotation_files_that_are_none(tmp_path: Path) -> None:
    path = box_folder(tmp_path / "farm")
    file = path / "annotations" / "instances_val.json"
    file.write_text('{"images": [')
    with pytest.raises(DataError, match="annotation file '.*instances_val.json' is not JSON: Expecting value: line 1"):
        load_own(path)
    data = box_data(path, 32)
    file.unlink()
    with pytest.raises(DataError, match="file '.*instances_val.json' cannot be read: No such file"):
        load(data, tmp_path)
    with pytest.raises(DataError, match="boxes need train2017/ and val2017/, or train/ and val/, each with its annot"):
        box_data(tmp_path, 32)


def test_the_official_set(tmp_path: Path, capfd: Any) -> None:
    """COCO has boxes of no extent: training leaves them out, scoring keeps them."""
    with pytest.raises(DataError, match="data set coco not found in '.*coco': train2017/, val2017/ and annotations/"):
        load(Data("coco", 32), tmp_path)
    path = box_folder(tmp_path / "coco", ("train2017", "val2017"))
    assert truths_of(Data("coco", 32)) == "boxes"
    whole = load(Data("coco", 32, 0.0), tmp_path)
    for part in ("train2017", "val2017"):
        content = read(path, part)
        of_annotation(bbox=[3, 2, 5, 0])(content)
        write(path, part, content)
    dataset = load(Data("coco", 33, 0.0), tmp_path)
    assert len(dataset.train.boxes.labels) == len(whole.train.boxes.labels) - 1
    assert len(dataset.test.boxes.labels) == len(whole.test.boxes.labels)
    assert "1 boxes of no extent in" in capfd.readouterr().err
    assert box_data(path, 32).name == "boxes:coco"
    (path / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(DataError, match="annotation file '.*instances_val2017.json' cannot be read: No such file"):
        load(Data("coco", 34, 0.0), tmp_path)


def test_unreadable_images_go_with_their_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = box_folder(tmp_path / "farm")
    whole = load_own(path)
    (path / "train" / "5.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="5.png' cannot be decoded"):
        load_own(path)
    for held in (True, False):
        if not held:
            monkeypatch.setattr(files, "HELD_BYTES", 0)
            monkeypatch.setattr(files, "default_workers", lambda: 0)
        data = dataclasses.replace(box_data(path, 32 + held, 0.0), unreadable="skip")
        dataset = load(data, tmp_path)
        assert dataset.skipped == 1 and dataset.train.ids.tolist() == [100, 103, 104, 106, 107, 108, 109]
        expected = whole.train.boxes.take(whole.train.ids != 105)
        assert torch.equal(dataset.train.boxes.boxes, expected.boxes)
        assert torch.equal(dataset.train.boxes.counts, expected.counts)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real images beside the checkout")
def test_real_annotations(tmp_path: Path) -> None:
    """Genuine ones of COCO 2017, as the official set and as own data."""
    (tmp_path / "coco").symlink_to(SHARED / "coco-tiny")
    named, own = (load(data, tmp_path) for data in (Data("coco", 64), box_data(tmp_path / "coco", 64)))
    for dataset in (named, own):
        assert (len(dataset.train), len(dataset.val), len(dataset.test), dataset.num_classes) == (43, 5, 32, 80)
    assert torch.equal(named.test.boxes.boxes, own.test.boxes.boxes)
    content = json.loads((SHARED / "coco-tiny" / "annotations" / "instances_val2017.json").read_text())
    order = sorted(category["id"] for category in content["categories"])
    test, first = named.test, named.test.take(torch.tensor([0]))
    assert len(test.boxes.labels) == 361 and int(test.boxes.crowd.sum()) == 6
    theirs = [entry for entry in content["annotations"] if entry["image_id"] == int(test.ids[0])]
    assert [order[label - 1] for label in first.boxes.labels.tolist()] == [entry["category_id"] for entry in theirs]
    for box, entry in zip(first.boxes.boxes.tolist(), theirs, strict=True):
        x, y, w, h = entry["bbox"]
        assert box == pytest.approx([x, y, x + w, y + h], abs=1e-3)

"""What a folder holds is accounted for, entry by entry; levels of more than 8 bits are kept."""

from __future__ import annotations

import os
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pat.config import DataError
from pat.data import box_data, folder_data, load, own_data
from pat.data import scan as scanning
from pat.data.files import UnreadableImage, decode
from pat.data.scan import is_service, scan, scan_classes, told
from tests.pat.dense_sets import box_folder
from tests.pat.folders import make, picture

RAMP = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (8, 1))
NAMES = ("a.png", "b.JPG", ".hidden.png", "notes.txt", "plain", "@eaDir", ".cache", "__MACOSX", "lost+found", "deep")


def sets(path: Path, validation: float = 0.1) -> tuple[int, int, int]:
    """Train, validation and test images."""
    found = load(own_data(path, 32, validation), path.parent)
    return len(found.train), len(found.val), len(found.test)


def test_service_folders_are_no_data_at_any_depth(tmp_path: Path) -> None:
    path = make(tmp_path / "set", {"train": 12, "test": 4})
    data = folder_data(path, 32)
    for label in ("ant", "bee", "cat"):
        thumbnails = path / "train" / label / "@eaDir" / "000.png"
        thumbnails.mkdir(parents=True)
        picture(label, 0, 8).save(thumbnails / "SYNOPHOTO_THUMB_S.png")
    for service in ("train/__MACOSX", "train/ant/.thumbnails", "test/lost+found", "test/cat/deep/@eaDir"):
        (path / service).mkdir(parents=True)
        picture("ant", 0, 8).save(path / service / "000.png")
    assert folder_data(path, 32) == data
    dataset = load(data, tmp_path)
    assert (len(dataset.train) + len(dataset.val), len(dataset.test)) == (36, 12)
    assert dataset.classes == ("ant", "bee", "cat")
    assert dataset.account.endswith(
        "12 test images of 3 classes; passed over: 4 x service folder @eaDir, 1 x service folder .thumbnails, "
        "1 x service folder __MACOSX, 1 x service folder lost+found"
    )


def test_a_class_needs_images_in_train(tmp_path: Path) -> None:
    path = make(tmp_path / "set", {"train": 6, "test": 2})
    data = folder_data(path, 32)
    (path / "train" / "dog").mkdir()
    (path / "train" / "eel").mkdir()
    (path / "train" / "eel" / "1.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"class 'dog' of .*train' has no images \(and 1 others\): \.jpg, .* count"):
        load(data, tmp_path)
    picture("ant", 0).save(path / "train" / "dog" / "0.png")
    (path / "train" / "eel" / "1.heic").rename(path / "train" / "eel" / "1.jpg")
    assert folder_data(path, 32).fingerprint != data.fingerprint  # the classes belong to it
    skipping = folder_data(path, 32, 0.0)
    with pytest.raises(DataError, match=r"class 'eel' of .*none of its images can be decoded"):
        load(type(skipping)(skipping.name, 32, 0.0, skipping.fingerprint, unreadable="skip"), tmp_path)


def test_too_few_classes_and_no_images_at_all(tmp_path: Path) -> None:
    for part in ("train", "val"):
        (tmp_path / "one" / part / "ant").mkdir(parents=True)
        picture("ant", 0).save(tmp_path / "one" / part / "ant" / "0.png")
        (tmp_path / "none" / part).mkdir(parents=True)
        (tmp_path / "none" / part / "0.avif").write_bytes(b"x")
    with pytest.raises(DataError, match="has only the class 'ant': two are needed"):
        load(folder_data(tmp_path / "one", 32), tmp_path)
    with pytest.raises(
        DataError, match=r"holds no images: \.jpg, .*, in a folder a class; passed over: 1 x file \.avif"
    ):
        load(folder_data(tmp_path / "none", 32), tmp_path)


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "Validation", "TEST"), ("training", "valid", "testing")]
)
def test_validation_images_of_ones_own(tmp_path: Path, names: tuple[str, str, str]) -> None:
    path = make(tmp_path / "set", dict(zip(names, (12, 4, 5), strict=True)))
    assert sets(path) == sets(path, 0.5) == sets(path, 0.0) == (36, 12, 15)
    train = load(folder_data(path, 32), tmp_path)
    assert torch.equal(train.val.picture(0), decode(path / names[1] / "ant" / "000.png"))
    (path / names[2]).rename(path / "more")
    assert sets(path) == (33, 3, 12)  # alone it is the test split
    assert "1 x folder more that is no part" in load(folder_data(path, 32), tmp_path).account


def test_parts_that_are_not_clear(tmp_path: Path) -> None:
    path = make(tmp_path / "set", {"train": 3, "valid": 2, "val": 2})
    with pytest.raises(DataError, match="val/ and valid/ are the same part, val"):
        folder_data(path, 32)
    with pytest.raises(DataError, match=r"with train/ and test/ \(or val/\); it holds train/, dev/"):
        folder_data(make(tmp_path / "other", {"train": 3, "dev": 2}), 32)


def test_links_are_followed_once(tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "elsewhere", {"more": 2})
    path = make(tmp_path / "set", {"train": 6, "test": 2})
    before = sets(path, 0.0)
    (path / "train" / "ant" / "up").symlink_to(path)
    (path / "train" / "ant" / "again").symlink_to(path / "train" / "ant")
    (path / "train" / "around").symlink_to(path / "train")
    assert sets(path, 0.0) == before
    assert "3 x link to a folder already read" in load(folder_data(path, 32), tmp_path).account
    (path / "train" / "ant" / "linked").symlink_to(elsewhere / "more" / "ant")
    assert sets(path, 0.0) == (before[0] + 2, 0, before[2])


def test_what_cannot_be_listed_or_opened_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "set", {"train": 6, "test": 2})
    os.mkfifo(path / "train" / "ant" / "pipe.png")  # to open it would wait for ever
    assert "1 x device or pipe" in load(folder_data(path, 32), tmp_path).account
    (path / "train" / "ant" / "self.png").symlink_to(path / "train" / "ant" / "self.png")
    with pytest.raises(DataError, match="self.png' cannot be read"):
        folder_data(path, 32)

    def refused(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(scanning.os, "scandir", refused)
    with pytest.raises(DataError, match=r"folder '.*train' cannot be listed: Permission denied"):
        folder_data(path, 32)


def test_images_beside_the_class_folders(tmp_path: Path) -> None:
    path = make(tmp_path / "set", {"train": 6, "test": 2})
    picture("ant", 0).save(path / "train" / "stray.png")
    (path / "test" / "Thumbs.db").write_bytes(b"x")
    account = load(folder_data(path, 32), tmp_path).account
    assert account.endswith("passed over: 1 x file .db, 1 x image outside of the class folders")


def test_boxes_without_annotation_are_counted(tmp_path: Path) -> None:
    path = box_folder(tmp_path / "boxes")
    picture("ant", 0).save(path / "train" / "unknown.png")
    assert "1 x image without annotation" in load(box_data(path, 64), tmp_path).account


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4), max_size=12))
def test_every_entry_is_accounted_for(tmp_path_factory: pytest.TempPathFactory, entries: list[list[str]]) -> None:
    root = tmp_path_factory.mktemp("tree")
    for entry in entries:
        folder = root.joinpath(*entry[:-1])
        if not any(place.is_file() for place in (folder, *folder.parents)):
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / entry[-1]).exists():
                (folder / entry[-1]).write_bytes(b"x")
    images: list[str] = []
    passed: Counter[str] = Counter()
    for where, folders, names in os.walk(root):
        for name in [name for name in folders if is_service(name)]:
            folders.remove(name)
            passed[f"service folder {name}"] += 1
        for name in names:
            if name[0] != "." and name.lower().endswith((".png", ".jpg")):
                images.append(os.path.relpath(os.path.join(where, name), root))
            else:
                passed["other"] += 1
    found = scan(root)
    assert found.names == sorted(images)
    assert found.passed.total() == passed.total()
    assert all(found.passed[kind] == count for kind, count in passed.items() if kind != "other")
    classes = scan_classes(root)
    assert sorted(name for name in classes.names()) == sorted(name for name in images if "/" in name)
    outside = classes.passed["image outside of the class folders"]
    assert classes.passed.total() - outside == passed.total() and outside == sum("/" not in name for name in images)


def test_a_long_account_is_cut() -> None:
    kinds = Counter({f"file .{number:02d}": number + 1 for number in range(15)})
    assert told(kinds).endswith("4 x file .03 and 6 others") and told(Counter()) == ""


def tiff(bits: int, photometric: int) -> bytes:
    """An uncompressed grey TIFF of RAMP, 12 bits packed or 16."""
    levels = RAMP >> (16 - bits)
    if bits == 12:
        pairs = levels.reshape(-1, 2).astype(int)
        data = bytes(b for a, c in pairs for b in (a >> 4, (a & 15) << 4 | c >> 8, c & 255))
    else:
        data = levels.astype("<u2").tobytes()
    shape = [(256, 256), (257, 8), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 8)]
    entries = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in shape]
    entries.append(struct.pack("<HHII", 279, 4, 1, len(data)))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", 9) + b"".join(entries) + b"\0" * 4


def test_sixteen_bits_keep_their_levels(tmp_path: Path) -> None:
    expected = torch.from_numpy((RAMP >> 8).astype(np.uint8))[..., None].expand(-1, -1, 3)
    Image.fromarray(RAMP).save(tmp_path / "ramp.png")
    Image.fromarray(RAMP).save(tmp_path / "ramp.tif")
    (tmp_path / "twelve.tif").write_bytes(tiff(12, 1))
    (tmp_path / "sixteen.tif").write_bytes(tiff(16, 1))
    for maxval, shift in ((4095, 4), (65535, 0)):
        (tmp_path / f"{maxval}.pgm").write_bytes(b"P5 256 8 %d\n" % maxval + (RAMP >> shift).astype(">u2").tobytes())
    for file in sorted(tmp_path.iterdir()):
        assert (decode(file).int() - expected.int()).abs().max() <= 1, file.name
        assert len(decode(file).unique()) == 256, file.name
    (tmp_path / "white.tif").write_bytes(tiff(16, 0))
    assert torch.equal(decode(tmp_path / "white.tif"), 255 - decode(tmp_path / "sixteen.tif"))


@pytest.mark.parametrize("kind", ["int32", "float32"])
def test_levels_of_unknown_range_are_refused(kind: str, tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(kind)).save(tmp_path / "ramp.tif")
    with pytest.raises(UnreadableImage, match=r"ramp.tif' cannot be decoded: TIFF of Pillow's mode [IF] has no known"):
        decode(tmp_path / "ramp.tif")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK"])
def test_every_mode_keeps_black_and_white(mode: str, tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2] = 255
    Image.fromarray(pixels).convert(mode).save(tmp_path / "image.tif")
    assert torch.equal(decode(tmp_path / "image.tif"), torch.from_numpy(pixels))

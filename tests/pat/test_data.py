"""Data sets, the validation rule, image folders, ImageNet, and images that cannot be read."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import ImageDataset
from torchvision.datasets import CIFAR10

from pat.config import ConfigError, Data, RunConfig
from pat.data import files, folder_data, list_datasets, load
from pat.data.base import validation_mask
from pat.io import LocalIO
from pat.tasks.classification import evaluate
from pat.train import train
from tests import tiny

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def test_digits() -> None:
    dataset = load(Data("digits", 32), Path("nowhere"))
    assert (len(dataset.train), len(dataset.val), len(dataset.test), dataset.num_classes) == (1211, 136, 450, 10)
    assert dataset.train.images.dtype == torch.uint8 and dataset.train.images.shape[1:] == (3, 8, 8)
    assert dataset.train.images.max() == 255
    seen = {image.numpy().tobytes() for image in dataset.train.images}
    overlap = sum(image.numpy().tobytes() in seen for image in (*dataset.val.images, *dataset.test.images))
    assert overlap <= 2  # the source itself repeats hardly any image


def test_the_validation_rule_is_fixed() -> None:
    labels = torch.arange(200) % 4
    mask = validation_mask(labels, 0.1)
    assert mask.sum() == 20 and all(mask[labels == c].sum() == 5 for c in range(4))
    assert torch.nonzero(mask).flatten().tolist()[:6] == [12, 15, 21, 22, 24, 30]
    assert torch.equal(mask, validation_mask(labels, 0.1)) and not validation_mask(labels, 0.0).any()
    assert (validation_mask(labels, 0.2) | ~mask).all()  # a larger share contains the smaller
    with pytest.raises(ConfigError, match="no class has enough images"):
        validation_mask(torch.arange(4), 0.1)


def image_folder(root: Path, side: int = 40) -> Path:
    """Two classes, 12 + 4 images each, of different sizes; the first of each is grey."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4)):
        for label in ("cat", "dog"):
            (root / part / label).mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (side + i, side + 10, 3), dtype=np.uint8)
                Image.fromarray(pixels).convert("L" if i == 0 else "RGB").save(root / part / label / f"{i:02}.png")
    return root


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is held in memory, no process is started, and the user's cache folder is another."""
    monkeypatch.setattr(files, "HELD_BYTES", 0)
    monkeypatch.setattr(files, "default_workers", lambda: 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_image_folder(tmp_path: Path) -> None:
    path = image_folder(tmp_path / "pets")
    data = folder_data(path, image_size=32, validation=0.25)
    dataset = load(data, path.parent)
    assert (len(dataset.train), len(dataset.val), len(dataset.test), dataset.num_classes) == (18, 6, 8, 2)
    assert dataset.test.labels.tolist() == [0] * 4 + [1] * 4
    for i in range(8):
        expected = np.array(Image.open(path / "val" / ("cat", "dog")[i // 4] / f"{i % 4:02}.png").convert("RGB"))
        assert np.array_equal(dataset.test.picture(i).numpy(), expected)
    (path / "train" / "dog" / "99.png").write_bytes((path / "train" / "dog" / "01.png").read_bytes())
    assert folder_data(path, 32).fingerprint != data.fingerprint
    with pytest.raises(ConfigError, match="has changed: fingerprint"):
        load(Data(data.name, 36, 0.25, data.fingerprint), path.parent)


def test_the_fingerprint_of_a_folder_is_fixed(tmp_path: Path) -> None:
    for name in ("train/b/1.png", "train/a/2.JPEG", "train/a/deep/0.jpg", "val/a/1.png", "train/a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * len(name))
    text = "train/a/2.JPEG\x0014\ntrain/a/deep/0.jpg\x0018\ntrain/b/1.png\x0013\nval/a/1.png\x0011\n"
    assert folder_data(tmp_path, 32).fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_bad_folders_name_the_file(tmp_path: Path) -> None:
    path = image_folder(tmp_path / "pets")
    (path / "train" / "cat" / "05.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match="05.png"):
        load(folder_data(path, 32), path.parent)
    (path / "val" / "fox").mkdir()
    (path / "val" / "owl").mkdir()
    (path / "train" / "cat" / "05.png").unlink()
    with pytest.raises(ConfigError, match=r"class 'fox' of .*val' does not occur in train/ \(and 1 others\)"):
        load(folder_data(path, 32), path.parent)
    with pytest.raises(ConfigError, match="neither a known name nor a folder"):
        folder_data(tmp_path / "nothing", 32)
    (tmp_path / "empty" / "train" / "cat").mkdir(parents=True)
    (tmp_path / "empty" / "val" / "cat").mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds no images"):
        load(folder_data(tmp_path / "empty", 32), tmp_path)


def spoil(path: Path) -> list[str]:
    """Four files of train that are no whole images, by four ways of not being one; their names."""
    rows = np.arange(300, dtype=np.uint8).repeat(200).reshape(300, 200)
    buffer = io.BytesIO()
    Image.fromarray(rows).save(buffer, "JPEG")
    whole = buffer.getvalue()
    bad = {"aa.jpg": whole[: len(whole) // 2], "bb.jpg": b"<html>not found</html>", "cc.jpg": b""}
    bad["dd.png"] = (path / "train" / "dog" / "01.png").read_bytes()[:-200]
    for name, content in bad.items():
        (path / "train" / "dog" / name).write_bytes(content)
    return [f"dog/{name}" for name in bad]


@pytest.mark.parametrize("held", [True, False])
def test_unreadable_images(held: bool, tmp_path: Path, request: pytest.FixtureRequest, capfd: Any) -> None:
    if not held:
        request.getfixturevalue("on_disk")
    path = image_folder(tmp_path / "pets")
    good = load(folder_data(path, 32, 0.0), tmp_path)
    bad = spoil(path)
    data = folder_data(path, 32, 0.0)
    with pytest.raises(ConfigError, match=r"image '.*dog/aa.jpg' cannot be decoded: .*truncated") as caught:
        dataset = load(data, tmp_path)
        list(dataset.train.stream(torch.arange(len(dataset.train)).split(7)))
    assert "\n" not in str(caught.value)
    dataset = load(dataclasses.replace(data, unreadable="skip"), tmp_path)
    assert dataset.skipped == 4 and len(dataset.train) == len(good.train) == 24
    assert torch.equal(dataset.train.labels, good.train.labels)
    assert all(torch.equal(dataset.train.picture(i), good.train.picture(i)) for i in range(24))
    assert dataset.to(torch.device("cpu")).skipped == 4
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and "4 unreadable images" in said and all(name in said for name in bad)


def test_the_check_of_a_large_set_is_made_once(on_disk: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image_folder(tmp_path / "pets")
    spoil(path)
    data = dataclasses.replace(folder_data(path, 32, 0.0), unreadable="skip")
    assert load(data, tmp_path).skipped == 4
    decoded: list[Path] = []
    monkeypatch.setattr(files, "decode", lambda file, draft: decoded.append(file))
    assert load(dataclasses.replace(data, image_size=33), tmp_path).skipped == 4 and not decoded
    changed = path / "train" / "dog" / "cc.jpg"
    os.utime(changed, (1, 1))
    load(dataclasses.replace(data, image_size=34), tmp_path)
    assert changed in decoded


def test_a_file_that_cannot_be_opened_is_never_skipped(tmp_path: Path) -> None:
    path = image_folder(tmp_path / "pets")
    (path / "train" / "dog" / "zz.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(ConfigError, match=r"zz.png' cannot be read: No such file"):
        folder_data(path, 32)
    with pytest.raises(ConfigError, match=r"zz.png' cannot be read: No such file"):
        files.read_files(path / "train", ["dog/zz.png"], [0], "skip")


def test_all_images_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ConfigError, match="holds no images that can be decoded"):
        files.read_files(tmp_path, ["a.png"], [0], "skip")


def test_images_are_read_as_timm_reads_them(tmp_path: Path) -> None:
    """CMYK and grey become RGB, alpha is dropped, the orientation in EXIF is ignored."""
    generator = np.random.default_rng(0)
    cmyk, alpha, pixels = (generator.integers(0, 256, (20, 30, n), dtype=np.uint8) for n in (4, 4, 3))
    Image.fromarray(cmyk, "CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(alpha, "RGBA").save(tmp_path / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(pixels).quantize(16).save(tmp_path / "palette.png")
    for file in sorted(tmp_path.iterdir()):
        expected, _ = ImageDataset(str(tmp_path), reader=SimpleReader(file))[0]
        assert np.array_equal(files.decode(file).numpy(), np.array(expected)), file.name
    assert torch.equal(files.decode(tmp_path / "alpha.png"), torch.from_numpy(alpha[..., :3]))
    assert files.decode(tmp_path / "turned.jpg").shape == (20, 30, 3)
    grey = files.decode(tmp_path / "grey.png")
    assert torch.equal(grey[..., 0], torch.from_numpy(pixels[..., 0])) and torch.equal(grey[..., 1], grey[..., 2])


class SimpleReader:
    """One file, as timm's readers give theirs."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.file.open("rb"), 0

    def __len__(self) -> int:
        return 1


def test_imagenet_layout(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data set imagenet not found in .*val/<synset>/ needed"):
        load(Data("imagenet", 32), tmp_path)
    path = image_folder(tmp_path / "imagenet")
    dataset = load(Data("imagenet", 32, 0.25), tmp_path)
    assert (len(dataset.train), len(dataset.val), len(dataset.test), dataset.num_classes) == (18, 6, 8, 2)
    shutil.rmtree(path / "train")
    alone = load(Data("imagenet", 32), tmp_path)
    assert (len(alone.train), len(alone.val), len(alone.test), alone.num_classes) == (0, 0, 8, 2)
    with pytest.raises(ConfigError, match="train has only 0 images"):
        train(RunConfig(tiny.VIT, Data("imagenet", 32), tiny.config().recipe), LocalIO(tmp_path), data_root=tmp_path)


def test_missing_corrupt_and_unknown_sets(tmp_path: Path) -> None:
    assert {"digits", "cifar10", "cifar100", "folder:"} <= set(list_datasets())
    with pytest.raises(ConfigError, match="unknown data set 'cifar'; did you mean cifar10"):
        load(Data("cifar", 32), tmp_path)
    with pytest.raises(ConfigError, match="CIFAR100 not found or corrupt"):
        load(Data("cifar100", 32), tmp_path)
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    for name, _ in CIFAR10.train_list + CIFAR10.test_list + [("batches.meta", "")]:
        (folder / name).write_bytes(pickle.dumps({"data": b"", "labels": []}))
    with pytest.raises(ConfigError, match="CIFAR10 not found or corrupt") as caught:
        load(Data("cifar10", 32), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real images beside the checkout")
def test_a_thousand_classes(tmp_path: Path) -> None:
    """Real ImageNet validation images, one a class: the label is the line of the sorted synsets."""
    (tmp_path / "imagenet").symlink_to(SHARED / "imagenet-1k-sample")
    dataset = load(Data("imagenet", 32), tmp_path)
    synsets = [line.split()[0] for line in (SHARED / "imagenet-1k-sample" / "synsets.txt").read_text().splitlines()]
    assert dataset.num_classes == len(synsets) == 1000 and dataset.test.labels.tolist() == list(range(1000))
    file = next((SHARED / "imagenet-1k-sample" / "val" / synsets[417]).iterdir())
    assert torch.equal(dataset.test.picture(417), files.decode(file))
    score = evaluate(timm.create_model(tiny.CNN, num_classes=1000), dataset.test, Data("imagenet", 32), 256)
    assert 0 <= score.score < 1 and score.loss == pytest.approx(math.log(1000), abs=1)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real images beside the checkout")
def test_training_on_real_images(on_disk: None, tmp_path: Path) -> None:
    """Imagenette as the imagenet set, streamed: grey JPEGs among them. One epoch moves the loss below chance."""
    (tmp_path / "imagenet").symlink_to(SHARED / "imagenette2-224")
    recipe = dataclasses.replace(tiny.config().recipe, epochs=1, batch_size=36, crop_scale=(0.5, 1.0))
    configuration = RunConfig(tiny.CNN, Data("imagenet", 32), recipe)
    dataset = load(configuration.data, tmp_path)
    assert (len(dataset.train), len(dataset.val), len(dataset.test), dataset.num_classes) == (360, 40, 200, 10)
    outcome = train(configuration, LocalIO(tmp_path), data_root=tmp_path)
    assert outcome.status == "finished" and outcome.history[0]["train_loss"] < math.log(10)

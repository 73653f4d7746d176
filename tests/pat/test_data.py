"""Data sets, the validation rule and image folders."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from pat.config import ConfigError, Data
from pat.data import folder_data, list_datasets, load
from pat.data.base import validation_mask

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
    generator = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4)):
        for label in ("cat", "dog"):
            (root / part / label).mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (side, side + 10, 3), dtype=np.uint8)
                Image.fromarray(pixels).convert("L" if i == 0 else "RGB").save(root / part / label / f"{i:02}.png")
    return root


def test_image_folder(tmp_path: Path) -> None:
    path = image_folder(tmp_path / "pets")
    data = folder_data(path, image_size=32, validation=0.25)
    dataset = load(data, path.parent)
    assert (len(dataset.train), len(dataset.val), len(dataset.test), dataset.num_classes) == (18, 6, 8, 2)
    assert dataset.train.images.shape[1:] == (3, 37, 37)
    (path / "train" / "dog" / "99.png").write_bytes((path / "train" / "dog" / "01.png").read_bytes())
    assert folder_data(path, 32).fingerprint != data.fingerprint
    with pytest.raises(ConfigError, match="has changed: fingerprint"):
        load(Data(data.name, 36, 0.25, data.fingerprint), path.parent)


def test_bad_folders_name_the_file(tmp_path: Path) -> None:
    path = image_folder(tmp_path / "pets")
    (path / "train" / "cat" / "05.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match="05.png"):
        load(folder_data(path, 32), path.parent)
    (path / "val" / "fox").mkdir()
    (path / "train" / "cat" / "05.png").unlink()
    with pytest.raises(ConfigError, match="'fox'"):
        load(folder_data(path, 32), path.parent)
    with pytest.raises(ConfigError, match="neither a known name nor a folder"):
        folder_data(tmp_path / "nothing", 32)


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


@pytest.mark.skipif(not (SHARED / "imagenette2-224").is_dir(), reason="Imagenette is not beside the checkout")
def test_real_image_folder() -> None:
    data = folder_data(SHARED / "imagenette2-224", image_size=64)
    dataset = load(data, SHARED)
    assert (len(dataset.train) + len(dataset.val), len(dataset.test), dataset.num_classes) == (400, 200, 10)

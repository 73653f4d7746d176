"""Own data: an image folder PATH/{train,test}/<class>/<image>, or PATH/{train,val}/… where there is no test.

Images are held in memory as uint8 squares, so this is for sets of up to some gigabytes.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.functional import pil_to_tensor

from pat.config import ConfigError, Data
from pat.data.base import Split, register_dataset

PREFIX = "folder:"
MARGIN = 0.875
"""Stored squares are image_size / MARGIN pixels, so that crops of train still choose; test takes the middle."""


def folder_data(path: Path, image_size: int, validation: float = 0.1) -> Data:
    """The `Data` that stands for the image folder at `path`. Raises ConfigError if it is none."""
    return Data(PREFIX + path.absolute().name, image_size, validation, fingerprint(path))


def fingerprint(path: Path) -> str:
    """SHA-256 over the sorted relative names and sizes of all images: cheap, and another set has another one."""
    digest = hashlib.sha256()
    for part in _parts(path):
        for file in _files(part):
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\n".encode())
    return digest.hexdigest()


@register_dataset(PREFIX)
def load_folder(root: Path, data: Data) -> tuple[Split, Split, int]:
    """Train and test images; classes are the sorted folder names of train."""
    path = root / data.name.removeprefix(PREFIX)
    if (found := fingerprint(path)) != data.fingerprint:
        raise ConfigError(
            f"image folder {str(path)!r} has changed: fingerprint {found}, the run has {data.fingerprint}"
        )
    train, test = _parts(path)
    classes = {folder.name: label for label, folder in enumerate(_folders(train))}
    side = math.ceil(data.image_size / MARGIN)
    return _read(train, classes, side), _read(test, classes, side), len(classes)


def _parts(path: Path) -> tuple[Path, Path]:
    train = path / "train"
    test = next((path / name for name in ("test", "val") if (path / name).is_dir()), None)
    if not train.is_dir() or test is None:
        raise ConfigError(f"data set {str(path)!r}: neither a known name nor a folder with train/ and test/ (or val/)")
    return train, test


def _folders(part: Path) -> list[Path]:
    return sorted(folder for folder in part.iterdir() if folder.is_dir())


def _files(part: Path) -> list[Path]:
    return sorted(f for folder in _folders(part) for f in folder.rglob("*") if f.suffix.lower() in IMG_EXTENSIONS)


def _read(part: Path, classes: dict[str, int], side: int) -> Split:
    images, labels = [], []
    for folder in _folders(part):
        if folder.name not in classes:
            raise ConfigError(f"class {folder.name!r} of {str(part)!r} does not occur in train/")
        for file in sorted(f for f in folder.rglob("*") if f.suffix.lower() in IMG_EXTENSIONS):
            images.append(_square(file, side))
            labels.append(classes[folder.name])
    if not images:
        raise ConfigError(f"data set folder {str(part)!r} holds no images")
    return Split(torch.stack(images), torch.tensor(labels))


def _square(file: Path, side: int) -> Tensor:
    """uint8 [3, side, side]: short edge resized to `side` (bicubic), middle cut out."""
    try:
        with Image.open(file) as source:
            image = source.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise ConfigError(f"image {str(file)!r} cannot be read: {error}") from error
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    left, top = (width - side) // 2, (height - side) // 2
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return pil_to_tensor(resized.crop((left, top, left + side, top + side)))

"""ImageNet-1K as its archives unpack: ROOT/imagenet/{train,val}/<synset>/*.JPEG; test is val."""

from __future__ import annotations

from pathlib import Path

from pat.config import Data, DataError
from pat.data.base import Parts, register_dataset
from pat.data.folder import read_parts
from pat.data.scan import scan_classes

FOLDER = "imagenet"


@register_dataset("imagenet", FOLDER)
def load_imagenet(root: Path, data: Data) -> Parts:
    """Train and val images. Classes are the sorted synset names of train, so that the label is the usual class index.

    Without train/ (val/ is enough to score a trained network) the train split is empty.
    """
    folder = root / FOLDER
    train, val = folder / "train", folder / "val"
    if not val.is_dir():
        raise DataError(f"data set imagenet not found in {str(folder)!r}: train/<synset>/ and val/<synset>/ needed")
    return read_parts(scan_classes(train) if train.is_dir() else None, scan_classes(val), data.unreadable)

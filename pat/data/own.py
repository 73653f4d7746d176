"""A folder of own data, whichever of the three kinds it is."""

from __future__ import annotations

from pathlib import Path

from pat.config import Data, DataError
from pat.data.coco import ANNOTATIONS, box_data
from pat.data.folder import folder_data, layout
from pat.data.mask_folder import mask_data


def own_data(path: Path, image_size: int, validation: float = 0.1) -> Data:
    """The `Data` that stands for the folder at `path`, known by the folders in it.

    images/ and masks/: masks. annotations/: boxes. train/: a folder a class. Raises DataError for none of them, and
    for one that lacks something.
    """
    if (path / "images").is_dir() and (path / "masks").is_dir():
        return mask_data(path, image_size, validation)
    if (path / ANNOTATIONS).is_dir():
        return box_data(path, image_size, validation)
    if "train" in layout(path).parts:
        return folder_data(path, image_size, validation)
    raise DataError(
        f"data set {str(path)!r}: neither a known name nor a folder with train/<class>/ and test/<class>/ (or val/), "
        "images/{train,val}/ and masks/{train,val}/, or {train,val}/ and annotations/instances_{train,val}.json"
    )

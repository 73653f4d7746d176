"""Data sets by name: whole in memory as uint8 images, or in files that worker processes decode."""

from pat.data.base import (
    Dataset,
    Labelled,
    Parts,
    Source,
    Split,
    check_data,
    data_folder,
    list_datasets,
    load,
    load_on,
    register_dataset,
    truths_of,
)
from pat.data.boxes import Boxes, BoxSplit, BoxTargets
from pat.data.cifar import load_cifar10, load_cifar100
from pat.data.coco import box_data, load_coco
from pat.data.digits import load_digits
from pat.data.folder import fingerprint, folder_data, load_folder
from pat.data.imagenet import load_imagenet
from pat.data.mask_folder import load_ade20k, load_camvid, load_voc, mask_data
from pat.data.masks import VOID, MaskSplit, MaskTargets
from pat.data.own import own_data
from pat.data.part import FilePart, FileSplit
from pat.data.pixels import Pixels

__all__ = [
    "VOID",
    "BoxSplit",
    "BoxTargets",
    "Boxes",
    "Dataset",
    "FilePart",
    "FileSplit",
    "Labelled",
    "MaskSplit",
    "MaskTargets",
    "Parts",
    "Pixels",
    "Source",
    "Split",
    "box_data",
    "check_data",
    "data_folder",
    "fingerprint",
    "folder_data",
    "list_datasets",
    "load",
    "load_ade20k",
    "load_camvid",
    "load_cifar10",
    "load_cifar100",
    "load_coco",
    "load_digits",
    "load_folder",
    "load_imagenet",
    "load_on",
    "load_voc",
    "mask_data",
    "own_data",
    "register_dataset",
    "truths_of",
]

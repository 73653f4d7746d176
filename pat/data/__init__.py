"""Data sets by name: whole in memory as uint8 images, or in files that worker processes decode."""

from pat.data.base import (
    Dataset,
    Labelled,
    Source,
    Split,
    check_data,
    data_folder,
    list_datasets,
    load,
    register_dataset,
    truths_of,
)
from pat.data.cifar import load_cifar10, load_cifar100
from pat.data.digits import load_digits
from pat.data.files import FileSplit
from pat.data.folder import fingerprint, folder_data, load_folder
from pat.data.imagenet import load_imagenet
from pat.data.pixels import Pixels

__all__ = [
    "Dataset",
    "FileSplit",
    "Labelled",
    "Pixels",
    "Source",
    "Split",
    "check_data",
    "data_folder",
    "fingerprint",
    "folder_data",
    "list_datasets",
    "load",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_folder",
    "load_imagenet",
    "register_dataset",
    "truths_of",
]

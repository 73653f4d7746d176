"""Data sets by name, whole in memory as uint8 images."""

from pat.data.base import Dataset, Split, check_data, list_datasets, load, register_dataset
from pat.data.cifar import load_cifar10, load_cifar100
from pat.data.digits import load_digits
from pat.data.folder import fingerprint, folder_data, load_folder

__all__ = [
    "Dataset",
    "Split",
    "check_data",
    "fingerprint",
    "folder_data",
    "list_datasets",
    "load",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_folder",
    "register_dataset",
]

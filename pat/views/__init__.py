"""Batched augmentation on the device of the images; a view is a pure function of (seed, epoch, index).

Pixels are PIL's to within rounding: 8-bit values after each pass, so a view does not depend on batch size, neighbours
or device count.
"""

from pat.views.crop import crop_boxes, resized_crop
from pat.views.pipeline import eval_batch, train_batch

__all__ = ["crop_boxes", "eval_batch", "resized_crop", "train_batch"]

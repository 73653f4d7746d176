"""Batched augmentation on the device of the images; a view is a pure function of (seed, epoch, index).

Where samples are mixed, a view is one of (seed, epoch, step) and the step's global batch instead. Pixels are PIL's to
within rounding: 8-bit values after each pass, so a view does not depend on batch size, neighbours or device count.
"""

from pat.views.crop import crop_boxes, resized_crop, resized_middle
from pat.views.dense import Shown, dense_eval, dense_views, mask_eval
from pat.views.order import aspect_batches, epoch_batches
from pat.views.pipeline import Views, eval_batch, plain_views, train_views
from pat.views.scored import middles

__all__ = [
    "Shown",
    "Views",
    "aspect_batches",
    "crop_boxes",
    "dense_eval",
    "dense_views",
    "epoch_batches",
    "eval_batch",
    "mask_eval",
    "middles",
    "plain_views",
    "resized_crop",
    "resized_middle",
    "train_views",
]

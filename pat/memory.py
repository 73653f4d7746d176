"""What a run does when its device's memory does not suffice: it recomputes activations, or does its batch in parts.

Neither changes what is computed but for rounding; a run that needed one of them is marked.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pat.config import ConfigError
from pat.methods import Method

_REFUSALS = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "HOST_ALLOCATION_FAILED",
    "DEVICE_ALLOCATION_FAILED",
)
"""How torch's CPU allocator, CUDA, cuBLAS and cuDNN say it where no kind of error does."""


@dataclass(frozen=True)
class Measures:
    """`checkpointing`: activations of the student are computed anew in the backward pass. `accumulation`: the number
    of parts in which each worker does its share of a batch, one optimiser step for all."""

    checkpointing: bool = False
    accumulation: int = 1

    def __str__(self) -> str:
        parts = ["checkpointing"] * self.checkpointing
        return ", ".join([*parts, *([f"accumulation {self.accumulation}"] if self.accumulation > 1 else [])])

    @classmethod
    def parse(cls, text: str) -> Self:
        """The measures of their own text. Raises ValueError for another text."""
        words = text.split()
        found = cls("checkpointing" in text, int(words[-1]) if "accumulation" in words else 1)
        if str(found) != text:
            raise ValueError(f"no measures: {text!r}")
        return found


NO_MEASURES = Measures()


class OutOfMemory(ConfigError):
    """A step did not fit. `measures` is what to try next; None where nothing is left, and the message says why."""

    def __init__(self, message: str, measures: Measures | None = None) -> None:
        super().__init__(message)
        self.measures = measures


class Crowded(OutOfMemory):
    """The same where a run was trained beside others: it may fit alone, with the measures that it had."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator refused, on a GPU or on the CPU, torch's own or that of a library."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _REFUSALS)


def release() -> None:
    """Give what is no longer held back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def next_measures(now: Measures, method: Method, share: int) -> Measures | None:
    """The mildest thing that is left to do for a worker that does `share` images of each batch.

    First activation checkpointing, where the student can; then twice as many parts, where each image stands for
    itself: no BatchNorm in what is trained, no loss between images. None where neither is possible.
    """
    if not now.checkpointing and method.recomputable and can_checkpoint(method.student):
        return Measures(True, now.accumulation)
    parts = now.accumulation * 2
    return Measures(now.checkpointing, parts) if separable(method) and share % parts == 0 else None


def can_checkpoint(student: nn.Module) -> bool:
    """Whether timm can recompute this model's activations."""
    try:
        student.set_grad_checkpointing(False)  # type: ignore[operator]
    except (AttributeError, AssertionError):
        return False
    return True


def separable(method: Method) -> bool:
    """Whether a batch may be done in parts: what is computed for an image depends on no other image."""
    trained = (module for name, module in method.named_modules() if not name.startswith("teacher."))
    coupled = method.couples_samples or method.task.couples_images
    return not coupled and not any(isinstance(module, _BatchNorm) for module in trained)


def workers_that_fit(step: Callable[[int], None], share: int) -> int | None:
    """The smallest number of workers - 2, 4, 8 … in the place of one - whose share of the batch fits.

    `step` tries a forward and backward pass of so many images and raises what the allocator raises. None if not even
    one image fits.
    """
    workers = 1
    while share % 2 == 0:
        share, workers = share // 2, workers * 2
        release()
        try:
            step(share)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            return workers
    return None

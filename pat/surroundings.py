"""Which errors come from what surrounds a run - its device, drivers, disk, network, other processes - not from itself.

Such an error says nothing about the run: elsewhere it goes on. A process that has met one is not to be trusted
further, since an error of a GPU stays in its process.
"""

from __future__ import annotations

import torch
import torch.distributed as dist

from pat.config import ConfigError

_KINDS = (OSError, EOFError, torch.AcceleratorError, dist.DistError)
"""OSError holds what disks, file systems over a network, sockets and pipes refuse."""
_WORDS = (
    "cuda error", "cuda driver", "cuda-capable", "cuda runtime", "cublas_status", "cudnn_status", "cudnn error",
    "cusolver_status", "cufft_status", "hip error", "nccl", "gloo", "uncorrectable ecc", "nvml",
    "dataloader worker", "shared memory", "/dev/shm", "bus error", "pin memory thread",
    "socket", "connection closed", "connection reset", "connection refused", "broken pipe", "timed out",
    "no space left on device", "stale file handle", "input/output error", "too many open files",
    "resource temporarily unavailable", "transport endpoint",
)  # fmt: skip
_OWN = ("device-side assert",)
"""What a GPU says of a wrong index, which the run brings along."""


class SurroundingsError(ConfigError):
    """What surrounds a run has failed, so that the run has no result; the message is one line."""


def of_surroundings(error: BaseException) -> bool:
    """Whether an error, or the one that it was raised from, is none of the run itself."""
    text = str(error).lower()
    if any(words in text for words in _OWN):
        return False
    if isinstance(error, _KINDS) or (isinstance(error, RuntimeError) and any(words in text for words in _WORDS)):
        return True
    return error.__cause__ is not None and of_surroundings(error.__cause__)

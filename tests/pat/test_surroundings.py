"""Which errors are those of a machine, and which those of a run."""

from __future__ import annotations

import errno

import pytest
import torch
import torch.distributed as dist

from pat.config import ConfigError, DataError
from pat.memory import is_out_of_memory
from pat.surroundings import of_surroundings


def raised(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be asynchronous"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("No CUDA-capable device is detected"),
        dist.DistBackendError("NCCL error in: ProcessGroupNCCL.cpp, remote process exited or a network error"),
        RuntimeError("[../gloo/transport/tcp/pair.cc:589] Connection closed by peer [10.0.0.7]:1234"),
        RuntimeError("DataLoader worker (pid(s) 4711) exited unexpectedly"),
        RuntimeError("DataLoader worker (pid 4711) is killed by signal: Bus error. out of shared memory (/dev/shm)"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.ESTALE, "Stale file handle"),
        OSError(errno.EIO, "Input/output error"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        EOFError("a pipe to a process that is gone"),
        raised(ConfigError("initial weights cannot be fetched"), TimeoutError("timed out")),
    ],
    ids=lambda error: str(error)[:40],
)
def test_a_machine(error: Exception) -> None:
    assert of_surroundings(error) and not is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("no such pixels"),
        DataError("'7.png' cannot be decoded"),
        KeyError("socket"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x8 and 4x8)"),
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        raised(ValueError("no number"), KeyError("x")),
    ],
    ids=lambda error: str(error)[:40],
)
def test_a_run(error: Exception) -> None:
    assert not of_surroundings(error)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    ],
)
def test_memory_that_a_library_misses(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text)) and is_out_of_memory(torch.AcceleratorError(text))

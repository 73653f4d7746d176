"""Parts of a data set whose images lie in files: decoded ahead of their use, in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from pat.data.ahead import ahead
from pat.data.pixels import Packed, Pixels, pack, unpack


class Pictures(Protocol):
    """Images by number, uint8 [h, w, C], on the CPU; sent to other processes at little cost."""

    def __getitem__(self, index: int) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class FilePart:
    """Images in files, wanted on `device`; `rows` [N] says which of `pictures` they are. Its kinds add what is true of
    them.

    Images keep their full decoded size until they are on the device, so photographs of many megapixels cost memory:
    two batches for each of the `workers` processes are under way, one byte a pixel and channel, in shared memory.
    Which process decodes an image, and whether it is held in memory, never changes a pixel. `skipped` files were
    unreadable.
    """

    pictures: Pictures
    rows: Tensor
    workers: int
    skipped: int = 0
    device: torch.device = torch.device("cpu")

    @property
    def strata(self) -> Tensor:
        return torch.zeros(len(self), dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Tensor) -> Self:
        return replace(self, rows=self.rows[indices.cpu()])

    def to(self, device: torch.device) -> Self:
        return replace(self, device=device)

    def picture(self, index: int) -> Tensor:
        return self.pictures[int(self.rows[index])]

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Pixels]:
        if len(batches) == 0:
            return
        ends = torch.tensor([len(batch) for batch in batches]).cumsum(0)
        work = _Batches(self.pictures, self.rows[torch.cat(list(batches)).cpu()], ends)
        for packed in ahead(work, len(batches), self.workers, pin=self.device.type == "cuda"):
            yield unpack(packed, self.device)


@dataclass(frozen=True, kw_only=True)
class FileSplit(FilePart):
    """Images in files and their labels int64 [N]."""

    labels: Tensor

    @property
    def strata(self) -> Tensor:
        return self.labels

    def take(self, indices: Tensor) -> Self:
        return replace(super().take(indices), labels=self.labels[indices])

    def to(self, device: torch.device) -> Self:
        return replace(super().to(device), labels=self.labels.to(device))


@dataclass(frozen=True)
class _Batches:
    """Decodes and packs one batch after the other; `rows` are those of all batches, which end at `ends`."""

    pictures: Pictures
    rows: Tensor
    ends: Tensor

    def __call__(self, step: int) -> Packed:
        start = int(self.ends[step - 1]) if step else 0
        return pack([self.pictures[row] for row in self.rows[start : int(self.ends[step])].tolist()])

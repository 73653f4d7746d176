"""A run that tells a person how far it is: on a terminal a bar within each epoch, everywhere a line after it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from analysis.metrics import Metric
from pat.io import Files, LocalIO
from sweeps.looking.region import is_terminal

FORMAT = "  {desc} {percentage:3.0f}%|{bar}| {rate_noinv_fmt}, {remaining} left"


class TellingIO(LocalIO):
    """A `LocalIO` that does so. Its scores are `metric`'s, the run has so many `epochs`."""

    def __init__(
        self,
        metric: Metric,
        epochs: int,
        device: torch.device | None,
        folder: Path,
        on_epoch: Callable[[list[dict[str, Any]]], None] | None = None,
        stop: Callable[[], bool] | None = None,
        files: Files | None = None,
    ) -> None:
        super().__init__(folder, on_epoch, stop, files, device)
        self._metric, self._epochs = metric, epochs
        self._bar: Any = None

    def stepped(self, epoch: int, images: int, of: int) -> None:
        if not is_terminal(sys.stderr):
            return
        if self._bar is None:
            size = shutil.get_terminal_size()
            self._bar = tqdm(
                total=of, desc=f"epoch {epoch + 1} of {self._epochs}", unit=" images", leave=False, file=sys.stderr,
                bar_format=FORMAT, ncols=size.columns - 1, nrows=size.lines,
            )  # fmt: skip
        self._bar.update(images - self._bar.n)

    def report(self, history: list[dict[str, Any]], state: dict[str, Any]) -> None:
        self.close()
        super().report(history, state)
        row = history[-1]
        scores = f"loss {row['train_loss']:.3f}, validation {self._metric.told(row['val_score_raw'])}"
        print(f"  epoch {row['epoch']} of {self._epochs}: {scores}, {row['seconds']:.1f} s", flush=True)

    def close(self) -> None:
        """The bar goes, if there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

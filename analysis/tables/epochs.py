"""Every epoch of every run, as the ledger has it."""

from __future__ import annotations

import pandas as pd

from analysis.frames import Frames
from analysis.schema import EPOCH_SCHEMA
from analysis.tables import register_table

_ABOUT = {
    "run_id": "the run",
    "epoch": "from 1",
    "lr": "learning rate at its end",
    "train_loss": "mean over the epoch",
    "val_loss_raw": "cross entropy on validation, raw weights",
    "val_top1_raw": "validation top-1, percent, raw weights",
    "val_loss_ema": "cross entropy on validation, EMA weights",
    "val_top1_ema": "validation top-1, percent, EMA weights",
    "test_top1_raw": "test top-1, percent, raw weights; no decision reads it",
    "test_top1_ema": "test top-1, percent, EMA weights; no decision reads it",
    "seconds": "training and scoring, s",
    "parts": "mean of each named part of the loss and of what the method reports, JSON",
    "options": "the method's options, JSON",
}


@register_table(
    "epochs",
    90,
    title="Every epoch",
    note="Also of runs that go on.",
    columns={field.name: (field.type, _ABOUT[field.name]) for field in EPOCH_SCHEMA},
)
def prepare(frames: Frames) -> pd.DataFrame:
    """The epochs in order of run_id and epoch."""
    return frames.epochs

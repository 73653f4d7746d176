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
    "val_loss_raw": "validation loss, raw weights",
    "val_score_raw": "validation {short}, percent, raw weights",
    "val_loss_ema": "validation loss, EMA weights",
    "val_score_ema": "validation {short}, percent, EMA weights",
    "test_score_raw": "test {short}, percent, raw weights; no decision reads it",
    "test_score_ema": "test {short}, percent, EMA weights; no decision reads it",
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

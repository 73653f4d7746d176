"""What a study has spent, in hours of a device: a GPU, or the CPUs of one worker where a run had no GPU."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from analysis.storage import Folder, read_file


def gpu_share(folder: Folder) -> float:
    """The share of one GPU that a one-worker run of the study in `folder` gets; 1 where nothing says otherwise.

    A study that leaves it to its probes says None; the driver then knows.
    """
    for name in ("study.json", "driver.json"):
        try:
            share = json.loads(read_file(folder, name) or b"{}").get("gpu_share")
            if share is not None:
                return float(share)
        except (ValueError, TypeError, AttributeError):
            continue
    return 1.0


def device_hours(runs: pd.DataFrame, share: float) -> pd.Series:
    """The device-hours of each run, from its columns seconds, workers and device; `share` as `gpu_share` gives it."""
    workers = runs["workers"].astype(float).fillna(1.0)
    shared = (workers == 1) & runs["device"].notna() & (runs["device"] != "cpu")
    return runs["seconds"].astype(float).fillna(0.0) / 3600 * workers * np.where(shared, share, 1.0)


def preceding(runs: pd.DataFrame) -> pd.Series:
    """Of each run the run_id of the pre-training that it begins with; empty where it begins otherwise."""
    before = runs.loc[runs["phase"] == "pretrain", "run_id"]
    if before.empty:
        return pd.Series("", runs.index)
    initial = runs["config"].map(lambda text: str(json.loads(text).get("initial", "")).removeprefix("run:"))
    return initial.where(initial.isin(before), "")


def whole_hours(runs: pd.DataFrame, share: float) -> pd.Series:
    """The device-hours that the student of each run has taken: `device_hours` of the run, and of the pre-training that
    it begins with, whatever else begins with that."""
    own = device_hours(runs, share)
    by_run = own.set_axis(runs["run_id"].astype(str))
    return own + preceding(runs).map(by_run).astype(float).fillna(0.0)


def money(hours: float, price: float) -> str:
    """`hours` of a device at `price` each, in words."""
    return f"{hours * price:.2f} at {price:g} a device-hour"

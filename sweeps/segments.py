"""What a Tune trial does: one segment of a run, in its own process or as a Ray Train run of several workers.

Imports little, because every process of a Ray Train run starts afresh and waits for it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ray import tune

FAILURES = 2
STORAGE = "_ray"
"""Ray Train's own folder inside the study's, which every machine sees; its name keeps the ledger's readers away."""


def run_one(values: dict[str, Any]) -> None:
    """A segment in the trial's own process; `values` are those of a `Job`."""
    from analysis.schema import LedgerError
    from sweeps.runs import Job, execute

    try:
        execute(Job.from_dict(values))
    except LedgerError as refusal:
        tune.report({"epochs": 0, "fatal": str(refusal)})
    else:
        tune.report({"epochs": values["until"]})


def run_group(values: dict[str, Any], name: str, threads: int, root: str, gpus: bool) -> None:
    """A segment on several workers. Ray Train starts them, and again from the checkpoint if one is lost.

    `values` are those of a `Job`; `name` is the same whenever the segment is tried; `threads` are the CPUs of each
    worker, `root` the folder that holds the packages where they are not installed.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    storage = Path(values["folder"]) / STORAGE
    shutil.rmtree(storage / name, ignore_errors=True)

    def loop(job: dict[str, Any]) -> None:
        import sys

        if root not in sys.path:
            sys.path.append(root)
        from sweeps.segments import train_in_group

        train_in_group(job)

    fatal = ""
    try:
        TorchTrainer(
            loop,
            train_loop_config=values,
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=values["workers"], use_gpu=gpus, resources_per_worker={"CPU": threads}
            ),
            run_config=RunConfig(
                name=name, storage_path=str(storage), failure_config=FailureConfig(max_failures=FAILURES)
            ),
        ).fit()
    except Exception as error:  # Ray Train has tried it again already: the run has failed
        fatal = _record(values, error)
    finally:
        shutil.rmtree(storage / name, ignore_errors=True)
    tune.report({"epochs": values["until"], "fatal": fatal})


def train_in_group(values: dict[str, Any]) -> None:
    """One worker's part of a segment. What the user must mend is recorded at once; other errors are tried again."""
    import ray.train

    from pat.config import ConfigError
    from pat.worker import TrainWorkerIO
    from sweeps.runs import Job, execute

    try:
        execute(Job.from_dict(values), TrainWorkerIO, record_errors=False)
    except ConfigError as error:
        if ray.train.get_context().get_world_rank() == 0:
            _record(values, error)


def _record(values: dict[str, Any], error: Exception) -> str:
    """End the run as failed; returns why that could not be written, if so."""
    from analysis.schema import LedgerError
    from sweeps.runs import Job, first_line, record_end

    try:
        record_end(Job.from_dict(values), "failed", type(error).__name__, first_line(error))
    except LedgerError as refusal:
        return str(refusal)
    return ""

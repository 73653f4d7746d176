"""What a Tune trial of several workers does: a Ray Train run, whose group stays while its run goes on.

At the end of a segment the workers ask, through a reported result, whether their run goes on at once; the driver
answers through a file in the run's folder. So a group is not started anew for the next rung.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune

from analysis import storage
from sweeps.engine.cluster import machines
from sweeps.engine.elsewhere import kept_off
from sweeps.engine.segments import STORAGE, told

FAILURES = 6
"""Losses of a worker, and steps down in memory, after which the trial gives up; the driver may hand it out again."""
ANSWER, PATIENCE, POLL = "_next", 30.0, 0.05
NCCL = {
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    "RAY_TRAIN_ENABLE_NCCL_HANG_DETECTOR": "1",
    "RAY_TRAIN_NCCL_RAS_ACTION": "fail",
}
"""What ends a group that hangs: torch a collective that takes half an hour, Ray one that stands for ten minutes."""


def answer(folder: Path, run_id: str, until: int) -> None:
    """Tell the workers of a run how far to go on; 0: no further now."""
    storage.write_file(folder, f"runs/{run_id}/{ANSWER}", str(until).encode())


def run_group(values: dict[str, Any], name: str, threads: int, root: str, gpus: bool) -> None:
    """A segment, and those that follow it at once, on several workers. Ray Train starts them, and again from the
    checkpoint if one is lost.

    `values` are those of a `Job`; `name` is the same whenever the segment is tried; `threads` are the CPUs of each
    worker, `root` the folder that holds the packages where they are not installed.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    if gpus:
        for variable, setting in NCCL.items():
            os.environ.setdefault(variable, setting)
    storage = Path(values["folder"]) / STORAGE
    shutil.rmtree(storage / name, ignore_errors=True)

    def loop(job: dict[str, Any]) -> None:
        import sys

        if root not in sys.path:
            sys.path.append(root)
        from sweeps.engine.group import train_in_group
        from sweeps.engine.health import here

        try:
            train_in_group(job)
        except Exception as error:
            error.place = list(here())  # type: ignore[attr-defined]  # travels with it to `_judge`
            raise

    failure: dict[str, Any] = {}
    try:
        TorchTrainer(
            loop,
            train_loop_config=values,
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=values["workers"],
                use_gpu=gpus,
                resources_per_worker={"CPU": threads},
                label_selector=kept_off(values, machines(), threads, gpus) or None,
            ),
            run_config=RunConfig(
                name=name,
                storage_path=str(storage),
                failure_config=FailureConfig(max_failures=FAILURES),
                callbacks=[TuneReportCallback()],
            ),
        ).fit()
    except Exception as error:
        failure = _judge(values, error)
    finally:
        shutil.rmtree(storage / name, ignore_errors=True)
    tune.report({"epochs": values["until"], **failure})


def train_in_group(values: dict[str, Any]) -> None:
    """One worker's part of a segment, and of those that follow it at once. Errors are raised: the group starts again,
    finds the checkpoint, and, where the memory did not suffice, what to do about it."""
    import ray.train

    from pat.worker import TrainWorkerIO
    from sweeps.engine.runs import Job, execute

    job = Job.from_dict(values)
    own = Path(job.folder) / "runs" / job.run.run_id
    first = ray.train.get_context().get_world_rank() == 0
    while execute(job, TrainWorkerIO, record_errors=False) == "paused":
        if first:  # NFS sees at once that a file has changed, but for a minute not that one has come
            storage.write_file(own, ANSWER, b"")
        ray.train.report({"epochs": job.until, "asks": True})
        until = _shared(_answer(own) if first else 0)
        if until <= job.until:
            break
        job = replace(job, until=until)
    if first:
        storage.remove_file(own, ANSWER)


def _answer(own: Path) -> int:
    """How far to go on; 0 where nobody answers in time: then the driver hands the run out again."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if text := storage.read_file(own, ANSWER):
            return int(text)
        time.sleep(POLL)
    return 0


def _shared(number: int) -> int:
    """Rank 0's number on every worker."""
    import ray.train.torch
    import torch
    import torch.distributed as dist

    shared = torch.tensor(number, device=ray.train.torch.get_device())
    dist.broadcast(shared, src=0)
    return int(shared)


def _judge(values: dict[str, Any], error: Exception) -> dict[str, Any]:
    """What a group that gave up reports: what one of its workers raised, and where; nothing where the run has ended all
    the same. A lost process is raised again, for the driver."""
    from analysis import ledger
    from analysis.schema import LedgerError
    from sweeps.engine.jobs import Job
    from sweeps.engine.runs import STOPS_STUDY

    causes = [getattr(cause, "_base_exc", cause) for cause in getattr(error, "worker_failures", {}).values()]
    stops = [cause for cause in causes if isinstance(cause, STOPS_STUDY)]
    own = stops or [cause for cause in causes if not _of_a_lost_peer(cause)]
    job = Job.from_dict(values)
    try:
        if not stops and ledger.read_run(job.folder, job.run.run_id) is not None:
            return {}
    except LedgerError as refusal:
        own = [refusal]
    if not own:
        raise error
    place = getattr(own[0], "place", None)
    return {"failure": told(own[0]), **({"place": place} if place else {})}


def _of_a_lost_peer(cause: Exception) -> bool:
    """Whether a worker was lost itself, or only noticed that another one was."""
    text, by_ray = str(cause).lower(), type(cause).__module__.startswith("ray.")
    return by_ray or any(word in text for word in ("by peer", "gloo", "nccl", "socket"))

"""A study on Ray Tune: each Tune trial is one segment of a run, and one searcher asks the planner for the next.

One Tuner at a time has one kind of segment and one resource request: one-worker segments in reused actors, or
segments that are a Ray Train run each. A cached actor keeps its device, so the two kinds never share a Tuner.
Nothing is ever stopped from outside: a run is pruned by not issuing its next segment.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from analysis.schema import LedgerError
from sweeps.cluster import wait_for
from sweeps.driver import Driver, Fatal
from sweeps.segments import STORAGE

SEGMENTS_PER_TUNER = 500
Work = Callable[[dict[str, Any]], None]


class PlannerSearcher(Searcher):
    """Suggests segments instead of settings. Everything it knows is in the driver, and that is in the ledger."""

    def __init__(self, driver: Driver, workers: int, limit: int) -> None:
        super().__init__(metric="epochs", mode="max")
        self._driver, self._workers, self._left = driver, workers, limit
        self._runs: dict[str, str] = {}
        self.fatal = ""

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next segment; None while all that is ready is in flight; FINISHED when this Tuner has done its part."""
        if self.fatal or not self._left:
            return Searcher.FINISHED
        job = self._driver.next_job(self._workers)
        if job is None:
            return None if self._runs else Searcher.FINISHED
        run = job.run
        self._left -= 1
        self._runs[trial_id] = run.run_id
        return {"job": job.to_dict(), "name": f"{run.run_id}-{job.until}", "threads": run.threads}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        run_id = self._runs.pop(trial_id)
        fatal = (result or {}).get("fatal", "")
        if fatal:
            self.fatal = fatal
            self._driver.flying.pop(run_id)
            return
        try:
            self._driver.ended(run_id, lost=error)
        except LedgerError as refusal:
            self.fatal = str(refusal)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher, but nobody restores it."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""


def launch(driver: Driver, patience: float = 0.0, work: Work | None = None, limit: int = SEGMENTS_PER_TUNER) -> None:
    """Drive the study to its end on the Ray that is running.

    `patience`: seconds to wait for the cluster's machines. `work` replaces the training in one-worker segments.
    Raises ConfigError where a run cannot fit the cluster and Fatal where the storage refuses.
    """
    study = driver.study
    kinds = {study.workers_of(method) for method in ("scratch", *study.methods)}
    slots = {kind: wait_for(kind, study.threads, _share(study.gpu_share, kind), patience) for kind in sorted(kinds)}
    scratch = Path(tempfile.mkdtemp(prefix="sweeps-tune-"))
    try:
        with driver.progress.ticking():
            while (kind := driver.kind()) is not None:
                driver.progress.slots = max(1, slots[kind] // kind)
                _run_tuner(driver, kind, driver.progress.slots, scratch, work, limit)
        driver.finish()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(driver.folder / STORAGE, ignore_errors=True)


def _share(gpu_share: float, workers: int) -> float:
    """A run of several workers takes whole GPUs: NCCL refuses two ranks on one."""
    return gpu_share if workers == 1 else 1.0


def _run_tuner(driver: Driver, workers: int, concurrent: int, scratch: Path, work: Work | None, limit: int) -> None:
    """One Tuner: segments of one kind until none is ready, or until it has grown long enough."""
    study = driver.study
    searcher = PlannerSearcher(driver, workers, limit)
    if workers == 1:
        trainable = _segment(work)
        request = {"cpu": study.threads, **({"gpu": study.gpu_share} if driver.gpus else {})}
    else:
        trainable = _group_segment(driver.gpus)
        request = {"cpu": 0, "node:__internal_head__": 0.001}
    tune.Tuner(
        tune.with_resources(trainable, request),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            search_alg=searcher,
            max_concurrent_trials=concurrent,
            reuse_actors=workers == 1,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(name=Path(tempfile.mkdtemp(dir=scratch)).name, storage_path=str(scratch), verbose=0),
    ).fit()
    if searcher.fatal:
        raise Fatal(searcher.fatal)


def _segment(work: Work | None) -> Callable[[dict[str, Any]], None]:
    """The function of a one-worker trial. It travels by value, and finds the packages where the driver did."""
    root = str(Path(__file__).parents[1])

    def segment(config: dict[str, Any]) -> None:
        import sys

        if root not in sys.path:
            sys.path.append(root)
        from sweeps.segments import run_one

        (work or run_one)(config["job"])

    return segment


def _group_segment(gpus: bool) -> Callable[[dict[str, Any]], None]:
    """The function of a trial whose work is a Ray Train run."""
    root = str(Path(__file__).parents[1])

    def segment(config: dict[str, Any]) -> None:
        import sys

        if root not in sys.path:
            sys.path.append(root)
        from sweeps.segments import run_group

        run_group(config["job"], config["name"], config["threads"], root, gpus)

    return segment

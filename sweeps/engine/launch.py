"""A study on Ray Tune: each Tune trial is one segment of a run, and one searcher asks the planner for the next.

One Tuner at a time has one kind of segment and one resource request: one-worker segments in reused actors, or
segments that are a Ray Train run each. A cached actor keeps its device, so the two kinds never share a Tuner.
Nothing is ever stopped from outside: a run is pruned by not issuing its next segment. Tune says where a segment comes
only once it is there: a place that is to get none, or not this one, gives it back.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from analysis.schema import LedgerError
from sweeps.engine.cluster import places, preempted, room, why_lost
from sweeps.engine.driver import Driver
from sweeps.engine.endings import Fatal
from sweeps.engine.group import answer
from sweeps.engine.health import Failure, Place
from sweeps.engine.jobs import PAUSE, STOP, asked_to_pause
from sweeps.engine.segments import STORAGE
from sweeps.engine.watch import watching

SEGMENTS_PER_TUNER = 5000
"""Tune keeps about 40 KB of each. Then what is in flight pauses after its epoch, and a new Tuner goes on with it."""
SCRATCH = "sweeps-tune-"
Work = Callable[[dict[str, Any]], None]
T = TypeVar("T")


class PlannerSearcher(Searcher):
    """Suggests segments instead of settings. Everything it knows is in the driver, and that is in the ledger."""

    def __init__(self, driver: Driver, workers: int, limit: int) -> None:
        super().__init__(metric="epochs", mode="max")
        self._driver, self._workers, self._left = driver, workers, limit
        self._runs: dict[str, list[str]] = {}
        self._several: set[str] = set()
        self._failures: dict[str, tuple[Failure, Place | None]] = {}
        self.fatal = ""

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next segment, or those that are to be trained together; None while all that is ready is in flight;
        FINISHED when this Tuner has done its part."""
        if self.fatal or self.stopping:
            return Searcher.FINISHED
        jobs = self._guarded(lambda: self._driver.next_jobs(self._workers)) if self._left else None
        if not jobs:
            if self._left and any(self._runs.values()):
                return None
            self._pause()
            return Searcher.FINISHED
        job, run = jobs[0], jobs[0].run
        self._left -= 1
        self._runs[trial_id] = [one.run.run_id for one in jobs]
        if len(jobs) > 1:
            self._several.add(trial_id)
        beside = [one.to_dict() for one in jobs[1:]]
        return {"job": job.to_dict(), "beside": beside, "name": f"{run.run_id}-{job.until}", "threads": run.threads}

    def _pause(self) -> None:
        """End this Tuner soon: what is in flight pauses after its epoch, what holds a sick place lets go of it."""
        (self._driver.folder / PAUSE).touch()

    @property
    def stopping(self) -> bool:
        return bool(self._driver.pausing())

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A process gives its segments back, or says how one of them has ended; or the workers of a group have come to
        the end of their segment and ask whether their run goes on."""
        runs = self._runs.get(trial_id, [])
        if "declined" in result:
            for run_id in runs:
                self._driver.declined(run_id, Place(*result["declined"]))
            self._runs[trial_id] = []
        if "failure" in result:
            self._failures[trial_id] = Failure(*result["failure"]), _place(result)
        if trial_id in self._several and result.get("run") in runs:
            runs.remove(result["run"])
            self._one_of_several(trial_id, result)
        if "asks" not in result or trial_id not in self._runs:
            return
        (run_id,), following = runs, None
        if not asked_to_pause(self._driver.folder):
            following = self._guarded(lambda: self._driver.reached(run_id))
            self._runs[trial_id] = [run_id] if following else []
        answer(self._driver.folder, run_id, following.until if following else 0)

    def _one_of_several(self, trial_id: str, result: dict[str, Any]) -> None:
        """How a run has ended that was trained beside others, which go on."""
        run_id = result["run"]
        if trial_id in self._failures:
            self._bad_end(run_id, *self._failures.pop(trial_id))
        elif "crowded" in result:
            self._guarded(lambda: self._driver.crowded(run_id))
        else:
            self._guarded(lambda: self._driver.ended(run_id, _place(result)))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A segment is over. Of one that was lost, `lost` is told next."""
        if error:
            return
        for run_id in self._runs.pop(trial_id):
            if trial_id in self._failures:
                self._bad_end(run_id, *self._failures.pop(trial_id))
            else:
                self._guarded(lambda: self._driver.ended(run_id, _place(result or {})))  # noqa: B023

    def lost(self, trial_id: str, error: str) -> None:
        """The process of a segment is gone; `error` as Ray words it, where it did not say why itself."""
        unsaid = Failure(why_lost(error), preempted=preempted(error)), None
        for run_id in self._runs.pop(trial_id):
            self._bad_end(run_id, *self._failures.pop(trial_id, unsaid))

    def _bad_end(self, run_id: str, failure: Failure, place: Place | None) -> None:
        self._guarded(lambda: self._driver.lost(run_id, failure, place))

    def stop(self, reason: str) -> None:
        """No more segments; those in flight pause after their epoch."""
        self.fatal = reason
        (self._driver.folder / STOP).touch()

    def _guarded(self, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except (LedgerError, Fatal) as refusal:
            self.stop(str(refusal))
            return None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher, but nobody restores it."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""


def _place(result: dict[str, Any]) -> Place | None:
    return Place(*result["place"]) if "place" in result else None


class TellLosses(tune.Callback):
    """Tells the searcher with which error a trial was lost, which Tune itself does not."""

    def __init__(self, searcher: PlannerSearcher) -> None:
        self._searcher = searcher

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        file = Path(trial.error_file or "")
        self._searcher.lost(trial.trial_id, file.read_text(errors="replace") if file.is_file() else "")


def launch(
    driver: Driver,
    most: int = 0,
    devices: int | None = None,
    work: Work | None = None,
    limit: int = SEGMENTS_PER_TUNER,
    callbacks: Sequence[tune.Callback] = (),
) -> None:
    """Drive the study to its end on the Ray that is running.

    `most`: one-worker runs that a growing cluster could hold; it is asked for them. At most `devices` are used.
    `work` replaces the training in one-worker segments. `callbacks` of Tune see every epoch. Raises ConfigError where
    a run cannot fit the cluster, Fatal where the storage refuses or a file is damaged, and Paused where a limit is
    reached or the study was asked to stop.
    """
    study = driver.study
    kinds = {study.workers_of(method) for method in ("scratch", *study.methods)}
    shares = {kind: _share((study.gpu_share or 1.0), kind) for kind in sorted(kinds)}
    slots = {kind: room(kind, study.threads, share) for kind, share in shares.items()}
    _sweep_up()
    scratch = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-"))
    try:
        with driver.progress.ticking(), watching(driver, min(kinds), study.threads, (study.gpu_share or 1.0)):
            while (kind := driver.kind()) is not None:
                driver.check_pause()
                allowed = slots[kind] + most if devices is None else int(devices / shares[kind] + 1e-9)
                driver.health.hosts, driver.health.devices = places(study.threads, driver.gpus)
                driver.progress.slots = max(1, min(slots[kind], allowed) // kind)
                at_once = max(driver.progress.slots, min(most, allowed) if kind == 1 else 0)
                _run_tuner(driver, kind, at_once, scratch, work, limit, callbacks)
        driver.finish()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(driver.folder / STORAGE, ignore_errors=True)
        for request in (STOP, PAUSE):
            (driver.folder / request).unlink(missing_ok=True)


def _sweep_up() -> None:
    """Remove what drivers left behind that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*-*"):
        owner = folder.name.removeprefix(SCRATCH).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists() and Path("/proc").is_dir():
            shutil.rmtree(folder, ignore_errors=True)


def _share(gpu_share: float, workers: int) -> float:
    """A run of several workers takes whole GPUs: NCCL refuses two ranks on one."""
    return gpu_share if workers == 1 else 1.0


def _run_tuner(
    driver: Driver,
    workers: int,
    at_once: int,
    scratch: Path,
    work: Work | None,
    limit: int,
    callbacks: Sequence[tune.Callback],
) -> None:
    """One Tuner: segments of one kind until none is ready, or until it has grown long enough."""
    study = driver.study
    (driver.folder / PAUSE).unlink(missing_ok=True)
    searcher = PlannerSearcher(driver, workers, limit)
    if workers == 1:
        trainable = _segment(work, log=bool(callbacks))
        request = {"cpu": study.threads, **({"gpu": (study.gpu_share or 1.0)} if driver.gpus else {})}
    else:
        trainable = _group_segment(driver.gpus)
        request = {"cpu": 0, "node:__internal_head__": 0.001}
    tune.Tuner(
        tune.with_resources(trainable, request),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            search_alg=searcher,
            max_concurrent_trials=at_once,
            reuse_actors=workers == 1,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=Path(tempfile.mkdtemp(dir=scratch)).name,
            storage_path=str(scratch),
            verbose=0,
            callbacks=[TellLosses(searcher), *callbacks],
        ),
    ).fit()
    if searcher.fatal:
        raise Fatal(searcher.fatal)


def _segment(work: Work | None, log: bool) -> Callable[[dict[str, Any]], None]:
    """The function of a one-worker trial. It travels by value, and finds the packages where the driver did."""
    root = str(Path(__file__).parents[2])

    def segment(config: dict[str, Any]) -> None:
        import sys

        if root not in sys.path:
            sys.path.append(root)
        from sweeps.engine.segments import run_one, run_together

        jobs = [config["job"], *config["beside"]]
        if work:
            for job in jobs:
                work(job)
        elif len(jobs) == 1:
            run_one(jobs[0], log)
        else:
            run_together(jobs)

    return segment


def _group_segment(gpus: bool) -> Callable[[dict[str, Any]], None]:
    """The function of a trial whose work is a Ray Train run."""
    root = str(Path(__file__).parents[2])

    def segment(config: dict[str, Any]) -> None:
        import sys

        if root not in sys.path:
            sys.path.append(root)
        from sweeps.engine.group import run_group

        run_group(config["job"], config["name"], config["threads"], root, gpus)

    return segment

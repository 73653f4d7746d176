"""Live logging to Weights & Biases or MLflow through Ray's own callbacks; both packages are optional.

Tune logs a trial, which is one segment; here the segments of a run are one run of the service, under our run_id.
What is logged is the epoch that a segment reports: the columns of the ledger's epoch table.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.air.integrations.wandb import WandbLoggerCallback
from ray.tune.experiment import Trial

from analysis.schema import EPOCH_SCHEMA
from pat.config import ConfigError
from sweeps.engine.jobs import Job

LOGGED = tuple(name for name in EPOCH_SCHEMA.names if name not in ("run_id", "options"))
_TAG = "sweeps_run_id"


def callbacks(spec: str, study: str) -> list[tune.Callback]:
    """The callback that `spec` names: `wandb:PROJECT` (runs in the group `study`) or `mlflow:TRACKING_URI` (runs in
    the experiment `study`).

    Raises ConfigError for any other text, and where the package is not installed or its service does not take us.
    """
    package, _, place = spec.partition(":")
    if package not in ("wandb", "mlflow") or not place:
        raise ConfigError(f"--log {spec!r}: wandb:PROJECT or mlflow:TRACKING_URI")
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"--log {spec!r}: the package {package!r} is not installed; pip install {package}")
    try:
        made = WandbRuns(place, study) if package == "wandb" else MLflowRuns(place, experiment_name=study)
        made.setup()
    except Exception as error:  # each service has errors of its own; here is the place where they can be mended
        raise ConfigError(f"--log {spec!r}: {str(error).strip().splitlines()[0]}") from error
    return [made]


class WandbRuns(WandbLoggerCallback):
    """One W&B run for each of ours, which later segments continue."""

    def log_trial_start(self, trial: Trial) -> None:
        run_id, facts = _described(trial)
        self.kwargs = {"id": run_id, "name": _title(run_id, facts), "resume": "allow", "config": facts}
        super().log_trial_start(trial)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        if epoch := _epoch(result):
            super().log_trial_result(iteration, trial, epoch)


class MLflowRuns(MLflowLoggerCallback):
    """One MLflow run for each of ours, which later segments continue, also those of a later driver."""

    def setup(self, *args: Any, **kwargs: Any) -> None:
        import mlflow

        super().setup(*args, **kwargs)
        found = mlflow.search_runs(experiment_names=[self.experiment_name], output_format="list")
        self._known = {run.data.tags[_TAG]: run.info.run_id for run in found if _TAG in run.data.tags}

    def log_trial_start(self, trial: Trial) -> None:
        run_id, facts = _described(trial)
        if run_id not in self._known:
            run = self.mlflow_util.start_run(run_name=_title(run_id, facts), tags={_TAG: run_id})
            self._known[run_id] = run.info.run_id
            self.mlflow_util.log_params(facts, run_id=run.info.run_id)
        self._trial_runs[trial] = self._known[run_id]

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        if epoch := _epoch(result):
            self.mlflow_util.log_metrics(epoch["epoch"], epoch, run_id=self._trial_runs[trial])


def _epoch(result: Mapping[str, Any]) -> dict[str, Any]:
    """The epoch in a reported result; empty where it reports none."""
    known = {name: result[name] for name in LOGGED if result.get(name) is not None}
    return known if "epoch" in known else {}


def _described(trial: Trial) -> tuple[str, dict[str, Any]]:
    """The run_id of a segment's run, and what the run is."""
    job = Job.from_dict(trial.config["job"])
    run = job.run
    teacher = run.teacher.name if run.teacher else ""
    facts = {"phase": job.phase, "teacher": teacher, "student": run.student, "method": run.method.name}
    return run.run_id, facts | {"seed": run.seed, "options": dict(run.method.options), "recipe": run.recipe.to_dict()}


def _title(run_id: str, facts: Mapping[str, Any]) -> str:
    names = (facts["teacher"], facts["student"], facts["method"], facts["phase"], f"seed {facts['seed']}", run_id)
    return " ".join(name for name in names if name)

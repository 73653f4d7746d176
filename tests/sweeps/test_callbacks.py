"""What the loggers of W&B and MLflow are told, with stand-ins for both packages."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import ray.air.integrations.mlflow as ray_mlflow
import ray.air.integrations.wandb as ray_wandb
from small import CNN_TEACHER, MLP_STUDENT, small_study

from pat.config import ConfigError
from sweeps.configs import default_options, student_run
from sweeps.engine import callbacks as module
from sweeps.engine.callbacks import MLflowRuns, WandbRuns, callbacks
from sweeps.engine.jobs import Job
from sweeps.study import Cell

STUDY, CELL = small_study(), Cell(CNN_TEACHER, MLP_STUDENT, "kd")
CONFIG = student_run(STUDY, CELL, default_options(STUDY, CELL), 0, "run:ab")
JOB = Job("/x", "small", CONFIG.to_json(), 2, "search", "mlp")
EPOCH = {"epoch": 2, "lr": 0.1, "val_loss_ema": None, "val_score_raw": 52.0, "parts": {"ce": 1.0}}
RESULT = {**EPOCH, "epochs": 2, "pid": 3, "config": {"job": {}}, "time_total_s": 1.0}
LOGGED = {"epoch": 2, "lr": 0.1, "val_score_raw": 52.0, "parts": {"ce": 1.0}}


class Trial:
    """A Tune trial: one segment of the run."""

    def __init__(self) -> None:
        self.config = {"job": JOB.to_dict(), "name": "n", "threads": 1}
        self.trial_id, self.experiment_dir_name = str(id(self)), "e"


def run_segment(callback: Any) -> None:
    trial = Trial()
    callback.log_trial_start(trial)
    callback.log_trial_result(1, trial, dict(RESULT))
    callback.log_trial_result(2, trial, {"epochs": 2, "fatal": ""})
    callback.log_trial_end(trial)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("tensorbord", "wandb:PROJECT or mlflow:TRACKING_URI"),
        ("wandb", "wandb:PROJECT or mlflow:TRACKING_URI"),
        ("wandb:p", "the package 'wandb' is not installed; pip install wandb"),
        ("mlflow:sqlite:///m.db", "the package 'mlflow' is not installed"),
    ],
)
def test_what_cannot_be_logged_to_is_one_line(spec: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=words) as caught:
        callbacks(spec, "small")
    assert "\n" not in str(caught.value)


def test_segments_are_one_run_of_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(ray_wandb, "wandb", object())
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(WandbRuns, "_start_logging_actor", lambda self, trial, exclude, **given: begun.append(given))
    monkeypatch.setattr(WandbRuns, "log_trial_end", lambda self, trial: None)
    monkeypatch.setattr(
        ray_wandb.WandbLoggerCallback, "log_trial_result", lambda self, step, trial, result: told.append(result)
    )
    monkeypatch.setattr(ray_wandb, "_set_api_key", lambda *given: None)
    monkeypatch.setattr(ray_wandb, "_clean_log", lambda value: value)
    (callback,) = callbacks("wandb:proj", "small")
    for _ in range(2):
        run_segment(callback)
    assert told == [LOGGED, LOGGED]
    for given in begun:
        assert (given["id"], given["resume"], given["project"], given["group"]) == (
            CONFIG.run_id,
            "allow",
            "proj",
            "small",
        )
        assert given["config"]["options"] == dict(CONFIG.method.options) and given["config"]["recipe"]["lr"] == 0.1
        assert "job" not in given["config"] and CONFIG.run_id in given["name"]


def test_a_service_without_a_key_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any) -> None:
        raise ValueError("No WandB API key found.\nmore")

    monkeypatch.setattr(ray_wandb, "wandb", object())
    monkeypatch.setattr(ray_wandb, "_set_api_key", refuse)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ConfigError, match="--log 'wandb:p': No WandB API key found") as caught:
        callbacks("wandb:p", "small")
    assert "\n" not in str(caught.value)


class Server:
    """MLflow as far as the callback uses it: runs with their tags, parameters and metrics."""

    def __init__(self) -> None:
        self.runs: list[Any] = []
        self.logged: list[tuple[str, int, dict[str, Any]]] = []
        self.params: list[dict[str, Any]] = []

    def setup_mlflow(self, **given: Any) -> None:
        assert given["experiment_name"] == "small" and given["tracking_uri"] == "sqlite:///m.db"

    def start_run(self, run_name: str, tags: dict[str, str]) -> Any:
        info, data = types.SimpleNamespace(run_id=f"m{len(self.runs)}"), types.SimpleNamespace(tags=tags)
        self.runs.append(types.SimpleNamespace(info=info, data=data))
        return self.runs[-1]

    def log_params(self, params: dict[str, Any], run_id: str) -> None:
        self.params.append(params)

    def log_metrics(self, step: int, metrics: dict[str, Any], run_id: str) -> None:
        self.logged.append((run_id, step, metrics))

    def end_run(self, **given: Any) -> None:
        pass

    def search_runs(self, **given: Any) -> list[Any]:
        return self.runs


def test_segments_are_one_run_of_mlflow_also_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setitem(sys.modules, "mlflow", server)  # type: ignore[misc]
    monkeypatch.setattr(ray_mlflow, "_MLflowLoggerUtil", lambda: server)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: object())
    for _ in range(2):
        (callback,) = callbacks("mlflow:sqlite:///m.db", "small")
        assert isinstance(callback, MLflowRuns)
        for _ in range(2):
            run_segment(callback)
    assert server.logged == [("m0", 2, LOGGED)] * 4
    assert len(server.runs) == len(server.params) == 1 and server.params[0]["method"] == "kd"

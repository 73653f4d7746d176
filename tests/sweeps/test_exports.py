"""What other tools are given of a study is read back as they would."""

from __future__ import annotations

import io
import json
import re
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from small import CNN_TEACHER, MLP_STUDENT, small_study
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from analysis import ledger, read_epochs, read_runs, storage
from analysis.schema import MATRIX_SCHEMA
from pat.config import RunConfig
from pat.methods import method_options
from sweeps.__main__ import main
from sweeps.configs import student_run, teacher_run
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.planning.search import draw_wave
from sweeps.store import open_study
from sweeps.study import Cell, Search
from tests.analysis.conftest import START, epoch_rows, run_row

STUDY = small_study(pairs=((CNN_TEACHER, MLP_STUDENT),), methods=("kd",), search=Search(trials=8, wave=4), seeds=1)
CELL = Cell(CNN_TEACHER, MLP_STUDENT, "kd")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A replayed study whose second wave has a failed trial, and one that is on its way."""
    import small

    import sweeps.engine.runs

    storage = tmp_path_factory.mktemp("exports")
    made, grown = open_study(storage, STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps.engine.runs, "train", small.fake_train)
        run_here(Driver(made, grown, STUDY, storage, stream=io.StringIO()))
    second = [run_id for run_id in searched(made) if run_id not in first_wave()]
    for run_id, status in zip(sorted(second), ("failed", ""), strict=False):
        row = ledger.read_run(made, run_id)
        assert row is not None
        (made / "runs" / run_id / "run.parquet").unlink()
        if status:
            ledger.write_run(made, {**row, "status": status, "failure_class": "bug", "message": "no such pixels"})
    yield made


def searched(folder: Path) -> list[str]:
    runs = read_runs(folder)
    return runs[runs["phase"] == "search"]["run_id"].to_list()


def first_wave() -> list[str]:
    teacher = teacher_run(STUDY, CNN_TEACHER)
    assert teacher is not None
    settings = draw_wave(STUDY, CELL, 0, [])
    return [student_run(STUDY, CELL, options, 0, f"run:{teacher.run_id}").run_id for options in settings]


@pytest.mark.parametrize("form", ["journal", "sqlite"])
def test_searches_are_read_back_by_optuna(folder: Path, tmp_path: Path, form: str) -> None:
    path = tmp_path / "deep" / "search.log"
    target = str(path) if form == "journal" else f"sqlite:///{tmp_path}/search.db"
    for _ in range(2):
        assert main(["export", str(folder), "optuna", target]) == 0
    storage = JournalStorage(JournalFileBackend(target)) if form == "journal" else target
    assert optuna.get_all_study_names(storage) == [str(CELL)]
    study = optuna.load_study(study_name=str(CELL), storage=storage)
    assert [trial.user_attrs["run_id"] for trial in study.trials[:4]] == first_wave(), "in the order of drawing"
    assert {trial.user_attrs["run_id"] for trial in study.trials} >= set(searched(folder))
    states = [trial.state for trial in study.trials]
    assert TrialState.RUNNING in states and TrialState.FAIL in states and len(states) == 8
    assert states[:4].count(TrialState.COMPLETE) == 2 and states[:4].count(TrialState.PRUNED) == 2
    scores = read_epochs(folder).set_index(["run_id", "epoch"])["val_score_ema"]
    for trial in study.trials:
        row = ledger.read_run(folder, trial.user_attrs["run_id"])
        for epoch, value in trial.intermediate_values.items():
            assert epoch in (2, 6) and value == scores[trial.user_attrs["run_id"], epoch]
        if trial.state == TrialState.COMPLETE:
            assert trial.value == scores[trial.user_attrs["run_id"], 6]
        if row is not None:
            options = RunConfig.from_json(row["config"]).method.options
            assert set(trial.params) == {"weight", "temperature"} and trial.params["weight"] == options["weight"]
            assert trial.datetime_complete is not None and trial.datetime_complete.timestamp() == pytest.approx(
                row["ended"].timestamp(), abs=1
            )
    (failed,) = (trial for trial in study.trials if trial.state == TrialState.FAIL)
    assert failed.user_attrs["message"] == "no such pixels"
    assert study.best_value == max(trial.value for trial in study.trials if trial.value is not None)
    assert [path.name for path in tmp_path.rglob("_*")] == []


def test_what_was_searched_before_an_option_joined_had_its_default(folder: Path, tmp_path: Path) -> None:
    row = ledger.read_run(folder, searched(folder)[0])
    assert row is not None
    options = json.loads(row["options"])
    weight = options["weight"]
    ledger.write_run(folder, {**row, "options": json.dumps({"weight": weight})})
    assert main(["export", str(folder), "optuna", str(tmp_path / "a.log")]) == 0
    ledger.write_run(folder, row)
    study = optuna.load_study(study_name=str(CELL), storage=JournalStorage(JournalFileBackend(str(tmp_path / "a.log"))))
    (found,) = (trial for trial in study.trials if trial.user_attrs["run_id"] == row["run_id"])
    assert found.params == {"weight": weight, "temperature": method_options("kd")["temperature"]}


def events(path: Path) -> list[Event]:
    """The records of a TFRecord file, their checksums checked."""
    data, place, found = path.read_bytes(), 0, []
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        body = data[place + 12 : place + 12 + length]
        (check,) = struct.unpack_from("<I", data, place + 12 + length)
        assert check == masked_crc32c(body)
        found.append(Event.FromString(body))
        place += 16 + length
    return found


def test_curves_are_read_back(folder: Path, tmp_path: Path) -> None:
    assert main(["export", str(folder), "tensorboard", str(tmp_path)]) == 0
    written = {path: path.read_bytes() for path in tmp_path.rglob("*tfevents*")}
    runs = read_runs(folder)
    assert len(written) == len(runs), "the run that has no row, no place in the matrix and no driver has no name"
    row = runs[runs["phase"] == "confirm"].iloc[0]
    name = f"{CNN_TEACHER}-to-{MLP_STUDENT}/kd/confirm-seed1-{row['run_id']}"
    head, *epochs = events(next((tmp_path / name).iterdir()))
    assert head.file_version == "brain.Event:2"
    rows = read_epochs(folder).query(f"run_id == '{row['run_id']}'").to_dict("records")
    assert [event.step for event in epochs] == [1, 2, 3, 4, 5, 6]
    for event, epoch in zip(epochs, rows, strict=True):
        values = {value.tag: value.simple_value for value in event.summary.value}
        wanted = {
            "loss/train": "train_loss",
            "top1/val_ema": "val_score_ema",
            "top1/test_raw": "test_score_raw",
            "lr": "lr",
        }
        for tag, column in wanted.items():
            assert values[tag] == pytest.approx(epoch[column])
        assert values["parts/ce"] == pytest.approx(json.loads(epoch["parts"])["ce"])
    assert epochs[-1].wall_time == pytest.approx(row["ended"].timestamp())
    assert epochs[1].wall_time - epochs[0].wall_time == pytest.approx(rows[1]["seconds"], abs=1e-5)
    main(["export", str(folder), "tensorboard", str(tmp_path)])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == written


def test_curves_are_named_after_the_metric_of_their_run(tmp_path: Path) -> None:
    matrix = dict.fromkeys(MATRIX_SCHEMA.names) | {"study": "s", "data": "coco", "metric": "map", "teacher": "t"}
    matrix |= {"student": "x", "method": "pat", "setting": "default", "seed": 1, "run_id": "aa", "status": "running"}
    ledger.write_matrix(tmp_path / "s", [matrix | {"rule": "last", "weights": "raw"}])
    ledger.write_run(tmp_path / "s", run_row("bb", phase="pretrain", metric="explained", ended=START))
    for run_id in ("aa", "bb"):
        ledger.write_epochs(tmp_path / "s", run_id, epoch_rows(run_id, 40.0))
    main(["export", str(tmp_path / "s"), "tensorboard", str(tmp_path / "logs")])
    tags = {
        path.parent.name[-2:]: {value.tag for event in events(path) for value in event.summary.value}
        for path in (tmp_path / "logs").rglob("*tfevents*")
    }
    assert {"map/val_raw", "map/test_raw"} < tags["aa"] and {"explained/val_raw", "explained/test_raw"} < tags["bb"]


def test_a_run_in_flight_has_its_curve_too(folder: Path, tmp_path: Path) -> None:
    (run_id,) = set(ledger.list_run_folders(folder)) - set(ledger.list_runs(folder))
    entry = {"run_id": run_id, "cell": list(CELL), "phase": "search", "seed": 0, "until": 6}
    record = {"host": "h", "pid": 1, "beat": "2026-01-01T00:00:00+00:00", "running": [entry]}
    storage.write_file(folder, "driver.json", json.dumps(record).encode())
    main(["export", str(folder), "tensorboard", str(tmp_path)])
    (folder / "driver.json").unlink()
    assert list(tmp_path.glob(f"*/kd/search-seed0-{run_id}/*"))


@pytest.mark.parametrize("form", ["optuna", "tensorboard"])
def test_what_cannot_be_exported_is_one_line(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path / "none"), form, str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_a_file_of_something_else_is_not_replaced(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["export", str(folder), "optuna", str(tmp_path / "thesis.txt")]) == 2
    assert "not a journal of Optuna" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    for url in ("nosuch://database", "sqlite:////nowhere/search.db"):
        assert main(["export", str(folder), "optuna", url]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: '{url}'") and error.count("\n") == 1


def test_searches_as_tables_for_deepcave(folder: Path, tmp_path: Path) -> None:
    """As its DataFrame converter takes them: a row for each rung, every value one of the space's."""
    place = tmp_path / "deep"
    for _ in range(2):
        assert main(["export", str(folder), "deepcave", str(place)]) == 0
    assert [path.name for path in place.iterdir()] == ["--".join(CELL)]
    space = pd.read_csv(place / "--".join(CELL) / "configspace.csv").set_index("name")
    assert list(space.index) == ["weight", "temperature"] and set(space["type"]) == {"float"}
    trials = pd.read_csv(place / "--".join(CELL) / "trials.csv")
    for name, row in space.iterrows():
        assert trials[name].between(row["lower"], row["upper"]).all() and row["lower"] <= row["default"] <= row["upper"]
    scores = read_epochs(folder).set_index(["run_id", "epoch"])["val_score_ema"]
    column = next(name for name in trials.columns if name.startswith("metric:"))
    assert re.match(r"metric:(\w+) \[(-?\d+\.?\d*); (-?\d+\.?\d*)\] \(maximize\)", column)
    assert trials["config_id"].nunique() == 8 and list(trials["config_id"]) == sorted(trials["config_id"])
    assert Counter(trials["status"]) == {"crashed": 1, "success": len(trials) - 1}
    for run_id, budget, score, status in trials[["run_id", "budget", column, "status"]].itertuples(index=False):
        row = ledger.read_run(folder, run_id)
        if status == "crashed":
            assert np.isnan(score) and row is not None and row["message"] == "no such pixels"
        else:
            assert budget in (2, 6) and score == scores[run_id, budget]
    assert (trials["end_time"] >= trials["start_time"]).all()


def test_words_and_what_lies_outside_a_space_for_deepcave(replayed: None, tmp_path: Path) -> None:
    """Choices are words, and a default beside its range widens it."""
    study = small_study(
        pairs=STUDY.pairs, methods=("kd",), seeds=1, choices={"kd": {"temperature": (1.0, 4.0)}},
        corrections={f":{MLP_STUDENT}": {"kd": {"weight": 99.0, "temperature": 2.0}}},
    )  # fmt: skip
    made, grown = open_study(tmp_path, study)
    run_here(Driver(made, grown, study, tmp_path, stream=io.StringIO()))
    assert main(["export", str(made), "deepcave", str(tmp_path / "deep")]) == 0
    space = pd.read_csv(tmp_path / "deep" / "--".join(CELL) / "configspace.csv").set_index("name")
    trials = pd.read_csv(tmp_path / "deep" / "--".join(CELL) / "trials.csv")
    assert space.loc["weight", "upper"] == 99.0 == trials["weight"][0] and float(space.loc["weight", "default"]) == 99.0
    items = {value for name, value in space.loc["temperature"].items() if str(name).startswith("item_")}
    assert items == {"temperature=1.0", "temperature=4.0", "temperature=2.0"} >= set(trials["temperature"])
    assert main(["export", str(tmp_path), "deepcave", str(tmp_path / "x")]) == 2

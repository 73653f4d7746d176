"""Forecasts of hand-made studies with known sums: every epoch takes one hour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import CNN_TEACHER, simulate, small_study

from pat.config import RunConfig
from sweeps.costs.devices import Devices, _devices, agree, cluster_devices
from sweeps.costs.expect import Expected, Images, Size, configs
from sweeps.costs.forecast import Forecast, Phase, forecast, gpu_share, needs_confirmation
from sweeps.costs.predicted import FILE, predicted_against_actual, remember
from sweeps.costs.probe_file import Probe, write_probes
from sweeps.costs.probing import Kind, kind_here
from sweeps.engine.alone import run_here
from sweeps.engine.cluster import Node
from sweeps.engine.driver import Driver
from sweeps.planning.planner import Planner
from sweeps.planning.speeds import Speeds
from sweeps.planning.units import keys
from sweeps.store import open_study
from sweeps.study import Search, Study

GB = 10**9


def hourly(study: Study) -> Expected:
    """Each epoch of each cell takes an hour; checkpoints of 1,000,000 bytes, students of 1,000."""
    cells = configs(study)
    speeds = Speeds(probed=dict.fromkeys(cells, 3600.0))
    return Expected(speeds, dict.fromkeys(cells, Size(10**6, 1000)), 0, {})


def foresee(planner: Planner, slots: int = 2, share: float = 1.0) -> Forecast:
    return forecast(planner, hourly(planner.scope), slots, share)


def phase(found: Forecast, name: str) -> Phase:
    return next(phase for phase in found.phases if phase.name == name)


def test_the_sums_of_a_fresh_study() -> None:
    """2 teachers, 2 students, 4 cells, 2 seeds, 4 trials; 6 epochs with a rung at 2, after which two of four go on."""
    found = foresee(Planner(small_study(), {}))
    sums = {one.name: (one.runs, one.epochs, one.before, one.expected) for one in (*found.phases, found.total)}
    assert sums == {
        "teacher": (2, 12, 12, 12),
        "scratch": (4, 24, 24, 24),
        "search": (16, 96, 96, 4 * (4 * 2 + 2 * 4)),
        "confirm": (16, 96, 96, 96),
        "total": (38, 228, 228, 196),
    }
    assert found.total.done == found.total.ended == 0 and found.sources == {"probe": 8}


def test_wall_clock_is_bounded_by_the_work_and_by_the_longest_chain() -> None:
    """A teacher, one search to its end and its confirmation follow each other: 18 epochs."""
    found = foresee(Planner(small_study(), {}))
    assert found.chain_seconds == 18 * 3600
    assert found.wall_seconds(1) == (196 * 3600, 196 * 3600)
    assert found.wall_seconds() == (98 * 3600, 98 * 3600 + 9 * 3600)
    assert found.wall_seconds(1000)[0] == 18 * 3600


def test_a_share_of_a_gpu_is_a_share_of_a_device_hour() -> None:
    quarter = foresee(Planner(small_study(), {}), slots=4, share=0.25)
    assert quarter.total.expected == 196 / 4
    assert quarter.wall_seconds()[0] == 196 * 3600 / 4


def test_workers_of_a_run_each_take_a_device() -> None:
    study = small_study(workers={"pat": 2})
    found = foresee(Planner(study, {}), share=0.5)
    assert phase(found, "scratch").before == 24 / 2
    assert phase(found, "confirm").before == 96 / 2 * (1 / 2 + 2)


def test_without_a_search_there_is_one_setting() -> None:
    found = foresee(Planner(small_study(search=Search(trials=0)), {}))
    assert phase(found, "search") == Phase("search") and phase(found, "confirm").before == 48
    assert found.chain_seconds == 12 * 3600


def test_a_complete_study_has_nothing_left() -> None:
    planner = simulate(small_study())
    found = foresee(planner)
    total = found.total
    assert (total.left, total.ended) == (0, total.runs)
    assert total.done == total.expected == sum(state.epochs for state in planner.view.values())
    assert found.wall_seconds() == (0.0, 0.0)
    assert found.disk and found.disk.peak["all"] == found.disk.end["all"]


@settings(max_examples=15, deadline=None)
@given(order=st.integers(0, 10**6), stop=st.integers(0, 60), bad=st.integers(0, 8))
def test_pruning_never_adds_and_what_is_done_is_never_left(order: int, stop: int, bad: int) -> None:
    def fate(config: RunConfig) -> str:
        return "diverged" if config.teacher and int(config.run_id[0], 16) < bad else ""

    study = small_study(search=Search(trials=8, wave=4))
    planner = simulate(study, order=order, stop_after=stop, fate=fate)
    found = foresee(planner)
    for one in found.phases:
        assert one.before >= one.expected >= one.done >= 0 and one.left >= 0 and one.ended <= one.runs
    assert found.total.left == sum(planner.left().values())
    assert found.total.done <= sum(state.epochs for state in planner.view.values())
    assert found.wall_seconds()[0] <= found.wall_seconds()[1]


def test_a_teacher_that_failed_leaves_only_what_does_not_need_it() -> None:
    planner = simulate(small_study(), fate=lambda config: "failed" if config.student == CNN_TEACHER else "")
    assert foresee(planner).total.left == 0 and phase(foresee(planner), "search").runs == 8


def test_disk_by_what_is_kept() -> None:
    found = foresee(Planner(small_study(), {}), slots=3).disk
    assert found is not None
    records, running, waiting = 38 * 40_000, 3 * 3 * 10**6, 4 * 4 * 10**6
    end = {"all": 2 + 4 + 4 * 2 + 16, "best": 2 + 2 + 4 * 2, "none": 2}
    most = {"all": end["all"], "best": 2 + 4 + 16, "none": 2}
    assert found.end == {keep: count * 1000 + records for keep, count in end.items()}
    assert found.peak == {keep: count * 1000 + records + running + waiting for keep, count in most.items()}


def test_a_longer_search_lets_no_more_runs_wait_at_a_rung() -> None:
    short, long = (foresee(Planner(small_study(search=Search(trials=t, wave=4)), {})).disk for t in (4, 8))
    assert short and long and short.peak["none"] - short.end["none"] == long.peak["none"] - long.end["none"]


def test_disk_is_unknown_where_a_size_is() -> None:
    planner = Planner(small_study(), {})
    expected = replace(hourly(planner.scope), sizes={})
    assert forecast(planner, expected).disk is None


def needing(peak_bytes: int | None, workers: int = 1) -> Probe:
    return Probe("t", "s", "kd", "GPU", asked_workers=1, workers=workers, peak_bytes=peak_bytes)


@pytest.mark.parametrize(
    ("probes", "cpus", "threads", "share"),
    [
        ([needing(10 * GB), needing(20 * GB)], 16, 1, 1 / 3),  # 20 GB, margin and context: three in 80 GB
        ([needing(17 * GB)], 16, 1, 1 / 3),  # four would fit without a context each
        ([needing(50 * GB)], 16, 1, 1.0),
        ([needing(1 * GB)], 16, 1, 1 / 8),  # never more than eight
        ([needing(1 * GB)], 16, 4, 1 / 4),  # four CPUs for each
        ([needing(1 * GB)], 2, 4, 1.0),
        ([needing(1 * GB), needing(None)], 16, 1, 1.0),  # one is unknown
        ([needing(1 * GB), needing(70 * GB, workers=2)], 16, 1, 1.0),  # one does not fit alone
        ([], 16, 1, 1.0),
    ],
)
def test_one_share_for_all(probes: list[Probe], cpus: int, threads: int, share: float) -> None:
    assert gpu_share(probes, 80 * GB, cpus, threads) == share


def test_what_was_not_probed_may_need_everything() -> None:
    assert gpu_share([needing(GB), None], 80 * GB, 16, 1) == 1.0


def test_a_share_is_one_that_every_kind_of_gpu_has_room_for(tmp_path: Path) -> None:
    """Runs of 12 GB: five on 80 GB, one on 24 GB."""
    study = small_study()
    kinds = [Kind("big", 80 * GB, "A"), Kind("small", 24 * GB, "B")]
    for kind in kinds:
        found = (Probe(*key.cell, kind.name, 1, 1, peak_bytes=12 * GB, kind=key.kind) for key in configs(study))
        write_probes(tmp_path, found)
    machines = [(16.0, 2.0), (16.0, 2.0)]
    assert _devices(study, tmp_path, kinds[:1], machines) == Devices("big", True, 20, 1 / 5)
    assert _devices(study, tmp_path, kinds, machines) == Devices("big", True, 4, 1.0)
    unprobed = [*kinds[:1], Kind("new", 80 * GB)]
    assert _devices(study, tmp_path, unprobed, machines).share == 1.0
    assert _devices(study, tmp_path, [], machines) == Devices("", True, 4, 1.0), "nobody answered"
    assert _devices(replace(study, gpu_share=0.5), tmp_path, kinds, machines).share == 0.5


def test_a_start_on_cpus_uses_the_probes_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes none itself; without any, it says that its times are counted ones."""
    monkeypatch.setattr("sweeps.engine.cluster.nodes", lambda: [Node(2.0, 0.0)])
    monkeypatch.setattr("sweeps.costs.expect.images_of", lambda data, root: Images(100, 10, 10, 10))
    study = small_study()
    for probed in (False, True):
        if probed:
            kind = kind_here().name
            write_probes(
                tmp_path, (Probe(*key.cell, kind, 1, 1, epoch_seconds=7.0, kind=key.kind) for key in keys(study))
            )
        said, planner = list[str](), Planner(study, {})
        devices = cluster_devices(study, tmp_path, tmp_path, said.append, probing=False)
        assert (devices.slots, devices.share, devices.gpus) == (2, 1.0, False) and not said
        agree(planner, tmp_path, tmp_path, devices, None, "all", False, said.append)
        told = [line for line in said if not line.startswith("counting")]
        assert ("FLOPs at an assumed" in told[-1]) == (not probed) == (len(told) == 2)
        assert {planner.speeds.source(key) for key in keys(study)} == {"probe" if probed else "flops"}
    assert {planner.speeds.seconds(key) for key in keys(study)} == {7.0}


def test_what_fits() -> None:
    """More workers than the study gives a run, or none at all: it does not fit."""
    assert [needing(GB, workers=workers).fits for workers in (1, 2, 4, 0)] == [True, False, False, False]


def test_above_ten_device_hours_a_question_is_asked() -> None:
    assert not needs_confirmation(10.0) and needs_confirmation(10.1)


@pytest.mark.usefixtures("replayed")
def test_the_first_prediction_stays_and_is_compared_with_what_was_spent(tmp_path: Path) -> None:
    study = small_study()
    folder, _ = open_study(tmp_path, study)
    driver = Driver(folder, study, study, tmp_path)
    assert predicted_against_actual(folder, driver.planner) == ""
    remember(folder, driver.planner, foresee(driver.planner))
    run_here(driver)
    remember(folder, driver.planner, foresee(simulate(small_study(seeds=1))))
    lines = predicted_against_actual(folder, driver.planner).splitlines()
    assert lines[0].split() == ["device-hours", "predicted", "actual", "actual", "/", "predicted"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["teacher", "12.0"], ["scratch", "24"], ["search", "64"], ["confirm", "96"], ["total", "196"]
    ]  # fmt: skip
    # a replayed epoch takes 0.01 s: the search of each cell trained 4 x 2 + 2 x 4 epochs
    assert lines[3].split()[2] == f"{4 * 16 * 0.01 / 3600:.2g}" and lines[3].split()[3] == "0.00"


def test_other_content_is_predicted_anew(tmp_path: Path) -> None:
    study = small_study()
    planners = [Planner(study, {}), Planner(replace(study, seeds=3), {}), Planner(replace(study, gpu_share=0.5), {})]
    for planner in planners:
        remember(tmp_path, planner, foresee(planner))
    assert (tmp_path / FILE).read_text().count("written") == 2
    assert "256" in predicted_against_actual(tmp_path, planners[1]).splitlines()[-1]
    (tmp_path / FILE).write_text("{broken")
    assert predicted_against_actual(tmp_path, planners[0]) == ""


def test_a_part_of_a_study_is_forecast_alone() -> None:
    study = small_study()
    part = replace(study, pairs=study.pairs[:1], methods=("kd",))
    found = foresee(Planner(study, {}, asked=part))
    assert found.total.before == 6 + 12 + 24 + 24

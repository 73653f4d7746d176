"""The best settings of cells are tried in others, whatever the timing, and nothing else of a study moves."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, simulate, small_study

from analysis import ledger
from analysis.identity import difference, unite
from analysis.schema import FROM
from pat.config import ConfigError, RunConfig
from sweeps.commands.flags import parser, select
from sweeps.costs.expect import Expected, Size
from sweeps.costs.forecast import forecast
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.planning.chain import chain_seconds
from sweeps.planning.exchange import guests_of, hosts_of
from sweeps.planning.planner import Planner
from sweeps.planning.search import complete
from sweeps.planning.speeds import Speeds
from sweeps.planning.units import Row, keys
from sweeps.presets import preset
from sweeps.store import open_study
from sweeps.study import Cell, Search, Study

AKIN = ("convnext_milli_32", "mixer_micro_patch8_32")
SAME, OTHER = (VIT_TEACHER, MLP_STUDENT), (VIT_TEACHER, CNN_STUDENT)
PAIRS = ((CNN_TEACHER, MLP_STUDENT), SAME, AKIN, OTHER)
"""Of the first one: one with its student, one of its families, one that has nothing in common with it."""


def travelling(exchange: int = 3, **changes: Any) -> Study:
    values: dict[str, Any] = {
        "pairs": PAIRS,
        "teachers": dict.fromkeys((CNN_TEACHER, VIT_TEACHER, AKIN[0]), RECIPE),
        "students": dict.fromkeys((CNN_STUDENT, MLP_STUDENT, AKIN[1]), RECIPE),
        "methods": ("kd",),
        "exchange": exchange,
    }
    return small_study(**{**values, **changes})


@cache
def undisturbed() -> Planner:
    return simulate(travelling())


def tried(planner: Planner) -> list[Row]:
    return [row for row in planner.rows() if row.setting.startswith(FROM)]


def best(planner: Planner) -> dict[Cell, dict[str, Any]]:
    rows = (row for row in planner.rows() if row.setting == "tuned" and row.options is not None)
    return {row.cell: json.loads(str(row.options)) for row in rows}


def test_each_kind_of_cell_in_turns_and_all_have_as_many_guests() -> None:
    cells = [Cell(*pair, "kd") for pair in PAIRS]
    for count in (1, 2, 3):
        assert hosts_of(travelling(count), cells[0], cells) == cells[1 : 1 + count]
    assert hosts_of(travelling(9), cells[3], cells) == [cells[1 - 1], cells[1], cells[2]], "no family is the same"
    study = replace(preset("cifar100"), exchange=3)
    guests = guests_of(study)
    for method in study.methods:
        own = [cell for cell in study.cells() if cell.method == method]
        counts = [len(guests.get(cell, ())) for cell in own]
        assert sum(counts) == (3 * len(own) if study.searches(method) else 0)
        assert not sum(counts) or min(counts) >= 1, "every cell has one"
        for guest in own if study.searches(method) else ():
            assert any(host.student == guest.student for host in own if guest in guests[host])


def test_the_best_setting_is_confirmed_in_the_others() -> None:
    planner, found = undisturbed(), best(undisturbed())
    assert planner.complete and len(tried(planner)) == 4 * 3 * 2
    for row in tried(planner):
        teacher, _, student = row.setting.removeprefix(FROM).partition(":")
        guest = Cell(teacher, student, "kd")
        assert row.options is not None and json.loads(row.options) == found[guest] and guest != row.cell
        assert row.seed in (1, 2) and row.status == "finished"
    assert Counter(row.setting for row in planner.rows() if row.cell == Cell(*SAME, "kd")) == {
        "default": 2, "tuned": 2, **{f"{FROM}{t}:{s}": 2 for t, s in PAIRS if (t, s) != SAME},
    }  # fmt: skip


@settings(max_examples=5, deadline=None)
@given(order=st.integers(0, 10**6), devices=st.integers(1, 20))
def test_timing_decides_nothing(order: int, devices: int) -> None:
    """Cells wait for each other in a circle, and none for ever."""
    planner = simulate(travelling(), order=order, devices=devices)
    assert (planner.view, planner.rows()) == (undisturbed().view, undisturbed().rows())


@settings(max_examples=5, deadline=None)
@given(order=st.integers(0, 10**6), stop=st.integers(0, 90))
def test_stopping_and_going_on_changes_nothing(order: int, stop: int) -> None:
    first = simulate(travelling(), order=order, stop_after=stop)
    anew = Planner(travelling(), dict(first.view))
    assert anew.rows() == first.rows() and anew.counts() == first.counts()
    planner = simulate(travelling(), dict(first.view), order=order + 1)
    assert (planner.view, planner.rows()) == (undisturbed().view, undisturbed().rows())


@settings(max_examples=5, deadline=None)
@given(order=st.integers(0, 10**6), exchange=st.integers(0, 5))
def test_nothing_else_of_a_study_moves(order: int, exchange: int) -> None:
    """Its other runs and rows are those of the study without; what comes later extends it."""
    without = simulate(travelling(0), order=order)
    grown = simulate(travelling(exchange), dict(without.view), order=order + 1)
    assert [row for row in grown.rows() if row not in tried(grown)] == without.rows()
    assert grown.view.items() >= without.view.items()
    assert {row.run_id for row in tried(grown)} >= grown.view.keys() - without.view.keys()
    assert not grown.superseded() and grown.rows() == simulate(travelling(exchange)).rows()


def test_a_study_without_it_is_written_as_before() -> None:
    study = preset("demo")
    assert "exchange" not in study.to_dict() and Study.from_dict(json.loads(json.dumps(study.to_dict()))) == study
    grown = replace(study, exchange=2)
    assert grown.to_dict() == {**study.to_dict(), "exchange": 2}
    plain, more = Planner(study, {}), Planner(grown, {})
    assert {run for unit in plain.units.values() for run in unit.runs} == {
        run for unit in more.units.values() for run in unit.runs
    }, "before a search is over nothing is added"


def test_only_what_is_searched_is_taken_over() -> None:
    """A corrected option stays as it is in the cell that tries the setting."""
    study = travelling(
        methods=("pat",), options={"pat": {"regions": 16, "region_dim": 64}},
        corrections={f":{MLP_STUDENT}": {"pat": {"heads": 2}}},
    )  # fmt: skip
    planner = simulate(study)
    found, rows = best(planner), tried(planner)
    assert planner.complete and {json.loads(str(row.options))["heads"] for row in rows} == {2, 8}
    for row in rows:
        teacher, _, student = row.setting.removeprefix(FROM).partition(":")
        options, own = json.loads(str(row.options)), found[Cell(teacher, student, "pat")]
        assert options == complete(study, row.cell, {name: own[name] for name in study.space("pat")})
        assert options["heads"] == (2 if row.cell.student == MLP_STUDENT else 8)


def test_a_search_without_a_result_gives_nothing_and_hinders_nobody() -> None:
    def fate(config: RunConfig) -> str:
        student = config.student == AKIN[1] and config.teacher is not None and config.seed == 0
        return "failed" if student else ""

    planner, lost = simulate(travelling(), fate=fate), Cell(*AKIN, "kd")
    setting = f"{FROM}{AKIN[0]}:{AKIN[1]}"
    for row in tried(planner):
        assert row.status == ("blocked" if row.setting == setting or row.cell == lost else "finished")
    assert {row.reason for row in tried(planner) if row.status == "blocked"} == {f"no best setting of {lost}"}
    assert all(row.status == "finished" for row in planner.rows() if row.cell != lost and row.setting != setting)
    assert planner.problems[0].startswith(f"{Cell(CNN_TEACHER, MLP_STUDENT, 'kd')} {setting}")
    teacherless = simulate(travelling(), fate=lambda run: "failed" if run.student == CNN_TEACHER else "")
    blocked = {row.setting for row in teacherless.rows() if row.cell == Cell(CNN_TEACHER, MLP_STUDENT, "kd")}
    assert len(blocked) == 2 + 3 and not teacherless.complete


def test_a_longer_search_replaces_what_was_tried_of_a_shorter_one() -> None:
    long = travelling(search=Search(trials=8, wave=4))
    at_once, extended = simulate(long), simulate(long, dict(undisturbed().view))
    assert extended.rows() == at_once.rows()
    assert extended.view.keys() - at_once.view.keys() == extended.superseded()


def test_it_is_priced_before_and_counted_after() -> None:
    study = travelling()
    speeds, sizes = Speeds(dict.fromkeys(keys(study), 3600.0)), dict.fromkeys(keys(study), Size(9, 3))
    expected = Expected(speeds, sizes, 0, {})
    before = {phase.name: phase for phase in forecast(Planner(study, {}), expected).phases}
    assert before["exchange"].runs == 24 and before["exchange"].left == 24 * 6 and before["confirm"].runs == 4 * 2 * 2
    done = undisturbed()
    after = {phase.name: phase for phase in forecast(done, expected).phases}
    assert sum(phase.runs for phase in after.values()) == done.counts()[1] == done.counts()[0]
    confirmed = {row.run_id for row in done.rows() if row.setting in ("default", "tuned")}
    new = {row.run_id for row in tried(done)} - confirmed
    assert after["exchange"].runs == after["exchange"].ended == len(new) and not after["exchange"].left
    assert after["search"].runs == before["search"].runs and after["confirm"].runs == len(confirmed)
    without = forecast(Planner(travelling(0), {}), expected)
    assert "exchange" not in {phase.name for phase in without.phases}
    assert {phase.name: phase for phase in without.phases} == {k: v for k, v in before.items() if k != "exchange"}


def test_the_longest_chain_ends_with_a_setting_of_another_cell() -> None:
    study = travelling()
    slow = {key: 10.0 if key.kind == "cell" and key.cell.student == MLP_STUDENT else 1.0 for key in keys(study)}
    alone, both = (chain_seconds(Planner(one, {}), Speeds(slow)) for one in (travelling(0), study))
    assert alone == both == 6 + 6 * 10 + 6 * 10, "its own confirmation, or that of a setting found as late"
    slow |= {key: 30.0 for key in keys(study) if key.kind == "cell" and key.cell[:2] == OTHER}
    only = {key: value if key.cell[:2] != AKIN else 50.0 for key, value in slow.items()}
    assert chain_seconds(Planner(study, {}), Speeds(only)) == 6 + 6 * 50 + 6 * 50
    only = {key: 40.0 if key.cell.student == CNN_STUDENT and key.cell.teacher else 1.0 for key in keys(study)}
    assert chain_seconds(Planner(study, {}), Speeds(only)) == 6 + 6 * 40 + 6 * 40
    assert chain_seconds(undisturbed(), Speeds(only)) == 0.0


def test_the_ledger_says_what_was_tried_for_others(replayed: None, tmp_path: Path) -> None:
    study = travelling(pairs=PAIRS[:2], seeds=1)
    folder, grown = open_study(tmp_path, study)
    run_here(Driver(folder, grown, study, tmp_path, stream=io.StringIO()))
    matrix, runs = ledger.read_matrix(folder), ledger.read_runs(folder).set_index("run_id")
    own = set(matrix.loc[~matrix["setting"].str.startswith(FROM), "run_id"])
    rows = matrix[matrix["setting"].str.startswith(FROM)]
    for run_id, cell in rows[["run_id", "student"]].itertuples(index=False):
        assert runs.loc[run_id, "phase"] == ("confirm" if run_id in own else "exchange")
        assert runs.loc[run_id, "student"] == cell
    assert (runs["phase"] == "exchange").sum() == len(set(rows["run_id"]) - own) > 0


def test_it_may_be_asked_for_later_and_merged(tmp_path: Path) -> None:
    folder, stored = open_study(tmp_path, travelling(0))
    assert open_study(tmp_path, travelling(2))[1] == travelling(2) == open_study(tmp_path, travelling(0))[1]
    few, more = (json.loads(json.dumps(travelling(count).to_dict())) for count in (0, 2))
    assert difference(few, more) is None and unite(few, more) == unite(more, few) == more
    assert "exchange" not in unite(few, few)
    part = Planner(travelling(2), {}, asked=travelling(0))
    assert not tried(part) and len(tried(Planner(travelling(2), {}))) == 4 * 2 * 2


def test_the_flag() -> None:
    study = select(preset("digits"), parser().parse_args(["--exchange", "3"]))
    assert study == replace(preset("digits"), exchange=3)
    for values in ({"exchange": -1}, {"exchange": 2, "search": Search(trials=0)}):
        with pytest.raises(ConfigError, match="exchange = "):
            travelling(**values)

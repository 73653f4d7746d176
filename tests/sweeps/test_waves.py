"""What a search has drawn is on record before it runs, and nothing else decides what a study has tried."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import CNN_TEACHER, MLP_STUDENT, simulate, small_study

import sweeps.study
from analysis.merge import merge, merged_text
from analysis.schema import LedgerError
from sweeps.configs import default_options
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.engine.jobs import Job
from sweeps.looking.export_optuna import export_optuna
from sweeps.planning.planned import rungs_of
from sweeps.planning.planner import Planner
from sweeps.planning.search import Result, draw_wave
from sweeps.planning.view import read_view
from sweeps.presets import PRESETS, preset
from sweeps.spaces import BEFORE, SPACES, Log, digest
from sweeps.store import open_study, read_study
from sweeps.study import Cell, Search, Study
from sweeps.waves import FOLDER, read_waves

TWO_WAVES = small_study(search=Search(trials=8, wave=4))
CELL = Cell(CNN_TEACHER, MLP_STUDENT, "kd")
OTHER_RANGE = {**SPACES, "kd": {"weight": Log(0.5, 20.0), "temperature": (1.0, 4.0)}}


def driver_of(storage: Path, study: Study) -> Driver:
    folder, grown = open_study(storage, study)
    return Driver(folder, grown, study, storage, stream=io.StringIO())


@pytest.fixture
def finished(replayed: None, tmp_path: Path) -> Path:
    """The folder of a finished study of two waves."""
    driver = driver_of(tmp_path, TWO_WAVES)
    run_here(driver)
    return driver.folder


@pytest.fixture
def other_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults of Optuna 4's sampler, and ranges that were changed in the code."""
    sampler = partial(optuna.samplers.TPESampler, multivariate=False, constant_liar=False)
    monkeypatch.setattr(optuna.samplers, "TPESampler", sampler)
    monkeypatch.setattr(sweeps.study, "SPACES", OTHER_RANGE)


def test_a_wave_is_on_record_before_its_runs_begin(
    replayed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, met = driver_of(tmp_path, TWO_WAVES), list[int]()
    execute = sweeps.engine.alone.execute_together

    def watched(jobs: Sequence[Job]) -> Iterator[tuple[Job, str | Exception]]:
        (job,) = jobs
        if job.trial is not None:
            cell = Cell(job.run.teacher.name, job.run.student, job.run.method.name)  # type: ignore[union-attr]
            number, place = divmod(job.trial, TWO_WAVES.search.wave)
            assert read_waves(driver.folder)[cell, number][place] == job.run.method.options
            met.append(number)
        yield from execute(jobs)

    monkeypatch.setattr("sweeps.engine.alone.execute_together", watched)
    run_here(driver)
    assert driver.planner.complete and set(met) == {0, 1}
    record = json.loads((driver.folder / FOLDER / f"{'--'.join(CELL)}--1.json").read_text())
    assert record["optuna"] == optuna.__version__ and record["sampler"] == "tpe"
    assert record["space"] == digest(SPACES["kd"])


def test_another_program_trains_nothing_anew(finished: Path, other_program: None, tmp_path: Path) -> None:
    """Another Optuna and another range change no count, and neither do they in another part of the same study."""
    counts = len(read_view(finished))
    again = driver_of(tmp_path, TWO_WAVES)
    assert again.kind() is None and again.planner.complete and again.planner.counts() == (counts, counts)
    part = driver_of(tmp_path, replace(TWO_WAVES, search=Search(trials=4, wave=4), seeds=1))
    assert part.kind() is None or {s.phase for s in part.planner.ready()} == {"confirm"}
    assert export_optuna(finished, str(tmp_path / "optuna.log")) == len(TWO_WAVES.cells())


def test_a_study_keeps_the_ranges_it_began_with(finished: Path, other_program: None, tmp_path: Path) -> None:
    """Its further waves, too; a new method has those of the program that begins it."""
    longer = replace(TWO_WAVES, search=Search(trials=12, wave=4), methods=("kd", "pat", "dist"))
    _, grown = open_study(tmp_path, longer)
    assert grown.space("kd") == SPACES["kd"] and longer.space("kd") == OTHER_RANGE["kd"]
    assert grown.space("dist") == SPACES["dist"]
    assert read_study(finished) == grown


def test_spaces_are_part_of_the_identity(tmp_path: Path) -> None:
    own = small_study(spaces={"kd": {"weight": Log(0.5, 2.0)}})
    folder, _ = open_study(tmp_path, own)
    assert read_study(folder) == own and open_study(tmp_path, small_study())[1] == own
    with pytest.raises(ValueError, match=r"its spaces\.kd\.weight\.high is 2\.0, not 3\.0"):
        open_study(tmp_path, small_study(spaces={"kd": {"weight": Log(0.5, 3.0)}}))
    with pytest.raises(ValueError, match="unknown option 'wieght' of method 'kd'"):
        small_study(spaces={"kd": {"wieght": Log(0.5, 3.0)}})
    with pytest.raises(ValueError, match="range 3.0 to 0.5"):
        Log(3.0, 0.5)


def test_a_study_of_before_is_derived_once_and_recorded(replayed: None, tmp_path: Path) -> None:
    """It has no waves on record, and no ranges: those of then are known here."""
    driver = driver_of(tmp_path, replace(TWO_WAVES, spaces=BEFORE))
    run_here(driver)
    folder, drawn = driver.folder, read_waves(driver.folder)
    shutil.rmtree(folder / FOLDER)
    values = json.loads((folder / "study.json").read_text())
    del values["spaces"]
    (folder / "study.json").write_text(json.dumps(values))
    again = driver_of(tmp_path, TWO_WAVES)
    assert again.kind() is None and again.planner.complete
    assert not (folder / FOLDER).exists(), "looking writes nothing"
    again.finish()
    assert read_waves(folder) == drawn


def test_ranges_of_before_stay() -> None:
    """Whoever changes a space that was there then writes the old one into BEFORE."""
    assert digest({name: (digest(space),) for name, space in sorted(BEFORE.items())}) == "467d404e65fbc9eb"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"cell": {}}', '{"cell": {"teacher": "", "student": "s", "method": "x"}}']
)
def test_a_damaged_wave_is_one_line_with_its_name(finished: Path, text: str) -> None:
    path = next((finished / FOLDER).iterdir())
    path.write_text(text)
    with pytest.raises(LedgerError, match=path.name) as refusal:
        read_waves(finished)
    assert "\n" not in str(refusal.value)


def test_waves_are_merged(replayed: None, tmp_path: Path) -> None:
    """Of two parts with a pair each, whose waves are all there afterwards; the merged study goes on with nothing."""
    parts = []
    for place, pair in enumerate(TWO_WAVES.pairs):
        driver = driver_of(tmp_path / str(place), replace(TWO_WAVES, pairs=(pair,)))
        run_here(driver)
        parts.append(driver.folder)
    into = tmp_path / "merged" / TWO_WAVES.name
    merge(parts, into)
    assert read_waves(into) == {**read_waves(parts[0]), **read_waves(parts[1])} != {}
    assert driver_of(tmp_path / "merged", TWO_WAVES).kind() is None


def test_a_merge_names_the_waves_that_were_drawn_differently(finished: Path, tmp_path: Path) -> None:
    """Those of the first stay, and no matrix is written until the study has gone on."""
    other = tmp_path / "other" / TWO_WAVES.name
    shutil.copytree(finished, other)
    wave = other / FOLDER / f"{'--'.join(CELL)}--1.json"
    record = json.loads(wave.read_text())
    record["settings"][0]["weight"] *= 1.01
    wave.write_text(json.dumps(record))
    merged = merge([finished, other], into := tmp_path / "merged" / TWO_WAVES.name)
    assert merged.redrawn == {str(finished): [], str(other): [wave.name]} and not merged.matrix
    assert read_waves(into) == read_waves(finished)
    text = merged_text(merged, into)
    assert f"has drawn other settings than {into}, whose settings stay, in {wave.name}" in text
    assert "start the study once more, which writes its matrix" in text
    wave.write_text("{")
    with pytest.raises(LedgerError, match=f"{wave.name}: cannot be read as a wave"):
        merge([finished, other], tmp_path / "again" / TWO_WAVES.name)


ODD: Mapping[str, Mapping[str, Any]] = {
    "choices without the default": {"choices": {"kd": {"temperature": (2, 4, 8)}, "pat": {"regions": (8, 36)}}},
    "a correction outside a range": {"corrections": {f":{MLP_STUDENT}": {"kd": {"weight": 100.0}}}},
    "an own space without the default": {"spaces": {"kd": {"weight": Log(3.0, 9.0)}}},
    "an option outside its range": {"options": {"pat": {"regions": 16, "region_dim": 64}, "kd": {"weight": 100.0}}},
    "a choice of one": {"choices": {"kd": {"temperature": (2.0,), "weight": (5.0,)}}},
}


@pytest.mark.parametrize("sampler", ["tpe", "gp", "sobol", "random"])
@pytest.mark.parametrize("change", ODD.values(), ids=list(ODD))
def test_a_default_outside_the_space_is_a_candidate_like_any_other(change: dict[str, Any], sampler: str) -> None:
    """It is tried, can be the best, and bricks no later wave."""
    search = Search(trials=8, wave=4, sampler=sampler, prior=0.25 if sampler != "tpe" else 0.0)
    study = small_study(**{"search": search, "pairs": small_study().pairs[:1], "methods": ("kd",), **change})
    planner = simulate(study)
    assert planner.complete
    waves = [planner.waves[cell, wave] for cell in study.cells() for wave in (0, 1)]
    assert waves[0][0] == default_options(study, study.cells()[0]) and len(waves[0]) > 1


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from([n for n in PRESETS if preset(n).search.trials]), pick=st.integers(0, 10**6))
def test_every_preset_draws_two_waves(name: str, pick: int) -> None:
    study = preset(name)
    cell = study.cells()[pick % len(study.cells())]
    first = draw_wave(study, cell, 0, [])
    found = [Result(options, "pruned", ((1, float(place)),)) for place, options in enumerate(first)]
    second = draw_wave(study, cell, 1, found)
    assert first[0] == default_options(study, cell) and len(first) == len(second) == study.search.wave
    texts = [json.dumps(options) for options in (*first, *second)]
    assert len(set(texts)) == len(texts)


def test_fewer_trials_scope_a_call_and_leave_the_study(replayed: None, tmp_path: Path) -> None:
    """A typo that was answered with yes does not cost for ever: what is asked for next is that alone."""
    long = replace(TWO_WAVES, search=Search(trials=400, wave=4))
    open_study(tmp_path, long)
    short = driver_of(tmp_path, small_study())
    alone = Planner(small_study(), {})
    assert short.planner.counts() == alone.counts()
    run_here(short)
    folder = short.folder
    again = driver_of(tmp_path, small_study())
    assert again.kind() is None and again.planner.complete
    assert (stored := read_study(folder)) is not None and stored.search.trials == 400
    assert not (folder / "superseded").exists()
    view = read_view(folder, rungs_of(small_study()))
    assert {row.run_id for row in Planner(small_study(), view, waves=read_waves(folder)).rows()} <= view.keys()


def test_the_tuned_of_fewer_trials_is_kept_by_a_call_for_them(finished: Path, tmp_path: Path) -> None:
    """The whole study is complete; the best of its first wave is confirmed by a call for one wave, and stays."""
    one = small_study()
    driver = driver_of(tmp_path, one)
    run_here(driver)
    assert driver.planner.complete and driver_of(tmp_path, one).kind() is None

"""What a search proposes and who goes on: priors, samplers, few options first, waves drawn ahead, the default kept."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import CNN_TEACHER, MLP_STUDENT, fake_score, simulate, small_study

from pat.config import ConfigError, Recipe, RunConfig
from sweeps.configs import default_options
from sweeps.planning.planner import Planner
from sweeps.planning.search import Result, aligned, draw_wave, lies_in_space
from sweeps.planning.units import Key, Runs
from sweeps.planning.view import RunState
from sweeps.presets import DIGITS, PRESETS, preset
from sweeps.search import SAMPLERS
from sweeps.spaces import SPACES, Linear, Log, Range, at, digest, inside, place
from sweeps.study import SEARCH_SEED, Cell, Search, Study, TeacherFile

CELL, PAT = Cell(CNN_TEACHER, MLP_STUDENT, "kd"), Cell(CNN_TEACHER, MLP_STUDENT, "pat")
AHEAD = Search(trials=12, wave=4, rungs=(1 / 3, 2 / 3, 1.0), ahead=1 / 3, keep_default=True, prior=0.25)


def one_cell(search: Search, **changes: Any) -> Study:
    """One pair, whose teacher is there, and kd alone; full length is 6 epochs."""
    teachers = {CNN_TEACHER: TeacherFile("t", "c" * 64)}
    return small_study(**{"pairs": (CELL[:2],), "methods": ("kd",), "search": search, "teachers": teachers, **changes})


def outcome(planner: Planner) -> tuple[dict[str, RunState], list[object], object]:
    return planner.view, planner.rows(), planner.waves


LINEAR = (Linear(0.0, 1.0), Linear(-2.0, 3.5), Linear(0.5, 0.75))


@pytest.mark.parametrize("kind", [*(kind for space in SPACES.values() for kind in space.values()), *LINEAR], ids=str)
def test_places_and_values_are_each_others_inverse(kind: Range | tuple[Any, ...]) -> None:
    for step in range(11):
        value = at(kind, step / 10)
        again = at(kind, place(kind, value))
        assert inside(kind, value) and (again == value or math.isclose(again, value, rel_tol=1e-3))
    ends = (kind.low, kind.high) if isinstance(kind, Range) else (kind[0], kind[-1])
    assert (at(kind, 0.0), at(kind, 1.0)) == ends


def test_what_lies_outside_has_a_place_at_the_end() -> None:
    assert place(Log(1.0, 10.0), 1e9) == 1.0 and place(Log(1.0, 10.0), 0.0) == 0.0 and place((1, 2), 7) == 0.5


@pytest.mark.parametrize("sampler", ["tpe", "gp", "sobol", "random"])
def test_a_linear_range_is_drawn_from_evenly(sampler: str) -> None:
    """Half of the draws lie in the upper half, of a logarithmic range 7 %; the study is read as it was written."""
    shares = {}
    for kind in (Linear(0.001, 10.0), Log(0.001, 10.0)):
        study = one_cell(Search(trials=32, wave=32, sampler=sampler), spaces={"kd": {"weight": kind}})
        assert Study.from_dict(json.loads(json.dumps(study.to_dict()))) == study
        drawn = [options["weight"] for options in draw_wave(study, CELL, 0, [])[1:]]
        assert all(inside(kind, value) for value in drawn)
        shares[type(kind)] = sum(value > 5 for value in drawn) / len(drawn)
    assert 0.3 < shares[Linear] < 0.7 and shares[Log] < 0.25
    assert digest({"weight": Log(1, 2)}) != digest({"weight": Linear(1, 2)})
    with pytest.raises(ConfigError, match="range 2.0 to 1.0: two numbers, the lower one first"):
        Linear(2, 1)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "sobol", "random"])
def test_a_prior_keeps_draws_near_the_default(sampler: str) -> None:
    """The first wave of 32: half of a normal distribution lies within 0.67 deviations."""
    found = {}
    for prior in (0.1, 0.0):
        study = one_cell(Search(trials=32, wave=32, sampler=sampler, prior=prior))
        wave = draw_wave(study, CELL, 0, [])
        assert all(lies_in_space(study, CELL, options) for options in wave)
        kind = study.space("kd")["weight"]
        places = [place(kind, options["weight"]) for options in wave[1:]]
        found[prior] = sum(abs(one - 0.5) < 0.0674 for one in places) / len(places)
    assert 0.35 < found[0.1] < 0.65 and found[0.0] < 0.3


def test_further_waves_are_half_the_models_and_half_the_priors() -> None:
    """The model has seen that more is better; the prior's half stays where it was."""
    study = one_cell(Search(trials=32, wave=16, prior=0.1))
    first = draw_wave(study, CELL, 0, [])
    results = [Result(o, "finished", ((2, 0.0), (6, 10 * math.log(o["weight"])))) for o in first]
    second = draw_wave(study, CELL, 1, results)
    kind = study.space("kd")["weight"]
    learnt, spread = ([place(kind, options["weight"]) for options in second[turn::2]] for turn in (0, 1))
    assert sum(learnt) / 8 > sum(spread) / 8 + 0.03
    points = draw_wave(replace(study, search=replace(study.search, sampler="sobol")), CELL, 1, results)
    assert second[1::2] == points[:8], "the sequence goes on where the first wave left it"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_the_same_again_and_nothing_twice(sampler: str) -> None:
    study = one_cell(Search(trials=8, wave=4, sampler=sampler))
    first = draw_wave(study, CELL, 0, [])
    results = [Result(options, "pruned", ((2, float(place)),)) for place, options in enumerate(first)]
    second = draw_wave(study, CELL, 1, results)
    assert second == draw_wave(study, CELL, 1, results) and not any(options in first for options in second)
    assert first[0] == default_options(study, CELL)


def test_few_options_are_searched_while_there_are_few_settings() -> None:
    """With two settings for each option: two options in the first wave of four, four in the second, then all."""
    study = small_study(methods=("pat",), options={}, search=Search(trials=12, wave=4, knobs=2))
    names, default = list(study.space("pat")), default_options(study, PAT)
    assert names[:3] == ["feature_weight", "kd_weight", "prompt_depth"] and len(names) == 6
    earlier: list[Result] = []
    for count in (2, 4, 6):
        wave = draw_wave(study, PAT, count // 2 - 1, earlier)
        changed = {name for options in wave for name in options if options[name] != default[name]}
        assert changed <= set(names[:count]) and len(changed) >= count - 1
        earlier += [Result(options, "pruned", ((2, 50.0),)) for options in wave]


def test_pats_weight_of_features_reaches_a_thousandth() -> None:
    assert SPACES["pat"]["feature_weight"] == Log(0.001, 10.0)


def test_scores_of_rungs_are_aligned() -> None:
    """Those of the second rung are moved by what is gained there on average, 10 points."""
    found = aligned(
        [
            Result({"a": 1}, "pruned", ((1, 50.0),)),
            Result({"a": 2}, "pruned", ((1, 60.0), (3, 72.0))),
            Result({"a": 3}, "finished", ((1, 64.0), (3, 72.0))),
            Result({"a": 4}, "failed"),
        ]
    )
    assert [result.scores[0][1] if result.scores else None for result in found] == [50.0, 62.0, 62.0, None]
    assert [result.status for result in found] == ["finished"] * 3 + ["failed"]


def test_the_default_comes_to_its_end_whatever_it_scores() -> None:
    """It takes one of the places; without the rule it would be pruned."""
    study = one_cell(Search(trials=8, wave=4, keep_default=True))
    runs, worst = Runs(study), default_options(study, CELL)

    def planner_of(study: Study) -> Planner:
        def score(config: RunConfig, epoch: int) -> float:
            return 1.0 if config.method.options == worst else fake_score(config, epoch)

        return simulate_with(study, score)

    kept = planner_of(study)
    statuses = Counter(kept.view[runs.student(CELL, o, SEARCH_SEED).run_id].status for o in kept.waves[CELL, 0])
    assert kept.view[runs.student(CELL, worst, SEARCH_SEED).run_id].status == "finished"
    assert statuses == {"finished": 2, "pruned": 2}
    pruned = planner_of(replace(study, search=replace(study.search, keep_default=False)))
    assert pruned.view[runs.student(CELL, worst, SEARCH_SEED).run_id].status == "pruned"


def test_a_setting_that_does_not_beat_the_default_at_full_length_is_not_chosen() -> None:
    """It led at the rung, and the default is ahead at the end."""
    study = one_cell(Search(trials=4, wave=4, keep_default=True))
    default = default_options(study, CELL)

    def score(config: RunConfig, epoch: int) -> float:
        ahead = (config.method.options == default) == (epoch == 6)
        return 90.0 if ahead else fake_score(config, epoch) / 2

    tuned = {row.options for row in simulate_with(study, score).rows() if row.setting == "tuned"}
    assert tuned == {row.options for row in simulate_with(study, score).rows() if row.setting == "default"}


def simulate_with(study: Study, score: Callable[[RunConfig, int], float]) -> Planner:
    """Run a study whose runs score so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("small.fake_score", score)
        planner = simulate(study)
    assert planner.complete
    return planner


def test_the_next_wave_begins_when_the_one_before_is_at_its_rung() -> None:
    """Nobody has come to the end by then; with `ahead` 1 it waits."""
    for ahead, waiting in ((1 / 3, False), (1.0, True)):
        study = one_cell(replace(AHEAD, ahead=ahead))
        runs, first = Runs(study), Planner(study, {}).waves[CELL, 0]
        scores = {2: 50.0}
        view = {runs.student(CELL, o, SEARCH_SEED).run_id: RunState("", 2, {"ema": scores}) for o in first}
        planner = Planner(study, view)
        trials = {segment.trial for segment in planner.units[Key("cell", CELL)].ready if segment.phase == "search"}
        assert ((CELL, 1) not in planner.waves) == waiting
        assert trials == ({0, 1} if waiting else {0, 1, 4, 5, 6, 7})


@settings(max_examples=12, deadline=None)
@given(order=st.integers(0, 10**6), devices=st.sampled_from([1, 3, 17]))
def test_waves_drawn_ahead_do_not_depend_on_timing(order: int, devices: int) -> None:
    def fate(config: RunConfig) -> str:
        return "diverged" if config.teacher and config.seed == 0 and config.run_id[0] in "01" else ""

    study = small_study(search=AHEAD)
    assert outcome(simulate(study, order=order, devices=devices, fate=fate)) == outcome(simulate(study, fate=fate))


@settings(max_examples=6, deadline=None)
@given(order=st.integers(0, 10**6), stop=st.integers(0, 80))
def test_a_search_drawn_ahead_goes_on_where_it_stopped(order: int, stop: int) -> None:
    study = small_study(search=AHEAD)
    first = simulate(study, order=order, stop_after=stop)
    assert outcome(simulate(study, dict(first.view), order=order + 1)) == outcome(simulate(study))


def test_fewer_trials_are_the_first_of_more() -> None:
    """Also where options join with the number of settings, and where the sampler does not learn."""
    for sampler in ("tpe", "sobol"):
        long = small_study(search=replace(AHEAD, sampler=sampler, knobs=3))
        short = replace(long, search=replace(long.search, trials=4))
        waves = simulate(long).waves
        assert {key: waves[key] for key in simulate(short).waves} == simulate(short).waves


@pytest.mark.parametrize("limit", [1, 2, 9])
def test_failures_close_a_search_that_is_drawn_ahead(limit: int) -> None:
    def fate(config: RunConfig) -> str:
        return "failed" if config.teacher and config.seed == 0 and config.run_id[0] in "012345" else ""

    study = small_study(search=replace(AHEAD, failures=limit))
    one, other = simulate(study, fate=fate), simulate(study, devices=11, order=5, fate=fate)
    assert outcome(one) == outcome(other)
    for key, unit in one.units.items():
        if key.kind == "cell":
            failed = sum(one.view[run].status == "failed" for run in unit.runs)
            tuned = {row.status for row in unit.rows if row.setting == "tuned"}
            assert tuned == ({"blocked"} if failed >= limit else {"finished"})


def test_what_is_left_is_what_will_be_trained() -> None:
    """Before the study and in the middle of it, where nothing fails; a default that wins is confirmed once."""
    study = one_cell(AHEAD)
    whole = simulate(study)
    trained = sum(state.epochs for run, state in whole.view.items() if run in whole.units[Key("cell", CELL)].runs)
    trained += 6 * study.seeds * (len({row.options for row in whole.units[Key("cell", CELL)].rows}) == 1)
    assert Planner(study, {}).left()[Key("cell", CELL)] == trained
    middle = simulate(study, stop_after=9)
    done = sum(state.epochs for run, state in middle.view.items() if run in middle.units[Key("cell", CELL)].runs)
    assert middle.left()[Key("cell", CELL)] + done == trained


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"sampler": "bayes"}, "search.sampler = 'bayes': one of tpe, gp, sobol, random"),
        ({"prior": 1.5}, "search.prior = 1.5: a share"),
        ({"ahead": 0.5}, "search.ahead = 0.5: one of search.rungs"),
        ({"knobs": -1}, "search.knobs = -1: settings for each option"),
    ],
)
def test_bad_searches_are_refused(search: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Search(**search)


def test_a_search_of_before_has_the_canonical_form_of_before() -> None:
    assert set(Search().to_dict()) == {"trials", "wave", "eta", "rungs", "failures"}
    assert Search.from_dict(AHEAD.to_dict()) == AHEAD


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_a_search_that_learns(name: str) -> None:
    """Beside the digits and the evidence, whose four trials are one wave; no score of a warm-up decides."""
    study = preset(name)
    search = study.search
    for student, recipe in study.students.items():
        search.check_warmup(student, recipe)
    assert not search.trials or search.keep_default
    assert (
        name in (DIGITS, "demo", "cifar100-evidence", "cifar100-evidence-gpu")
        or not search.trials
        or (search.wave < search.trials and search.ahead < 1)
    )


@pytest.mark.parametrize(("warmup", "refused"), [(9, False), (10, True)])
def test_the_first_rung_comes_after_the_warmup(warmup: int, refused: bool) -> None:
    search, recipe = Search(rungs=(0.1, 1.0)), Recipe(epochs=100, batch_size=8, lr=0.1, warmup_epochs=warmup)
    if refused:
        with pytest.raises(ConfigError, match="the first one is at epoch 10 of 'x', inside its warm-up of 10 epochs"):
            search.check_warmup("x", recipe)
    else:
        search.check_warmup("x", recipe)
    replace(search, trials=0).check_warmup("x", recipe)

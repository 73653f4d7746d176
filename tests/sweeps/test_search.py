"""How a wave is drawn and told to Optuna, and how halving decides between settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, small_study

from pat.methods import list_methods
from sweeps.configs import default_options
from sweeps.planning.matrix import matrix_rows
from sweeps.planning.planner import Plan, Planner, plan
from sweeps.planning.search import Result, complete, draw_wave, lies_in_space, seed_of, suggest, told
from sweeps.planning.units import Key, Run, Runs, Segment, as_text
from sweeps.planning.view import RunState
from sweeps.spaces import SPACES
from sweeps.study import SEARCH_SEED, Cell, Search, Study, TeacherFile

CELL = Cell(CNN_TEACHER, MLP_STUDENT, "kd")


def one_cell(**search: Any) -> Study:
    """One pair, whose teacher is there, and one method; a rung at 2 of 6 epochs."""
    return small_study(
        pairs=(CELL[:2],),
        methods=("kd",),
        search=Search(**{"trials": 4, "wave": 4, **search}),
        teachers={CNN_TEACHER: TeacherFile("t", "c" * 64)},
    )


def first_wave(study: Study) -> list[Run]:
    runs = Runs(study)
    return [runs.student(CELL, options, SEARCH_SEED) for options in draw_wave(study, CELL, 0, [])]


def state(scores: Mapping[int, float], status: str = "") -> RunState:
    """A run as far as its last score; its raw weights, which the recipe does not export, say the opposite."""
    return RunState(status, max(scores), {"ema": scores, "raw": {epoch: -score for epoch, score in scores.items()}})


def after(study: Study, *states: RunState) -> Plan:
    """The plan once the runs of the first wave stand so."""
    return plan(study, {run.run_id: state for run, state in zip(first_wave(study), states, strict=True)})


def places(segments: Sequence[Segment]) -> list[int | None]:
    return [segment.trial for segment in segments if segment.phase == "search"]


def test_every_wave_of_every_cell_and_study_draws_anew() -> None:
    studies = [one_cell(), replace(one_cell(), name="other")]
    cells = [CELL, CELL._replace(method="pat"), CELL._replace(student="resnet_nano_32")]
    seeds = {seed_of(study, cell, wave) for study in studies for cell in cells for wave in range(3)}
    assert len(seeds) == 2 * 3 * 3


@pytest.mark.parametrize("method", [method for method in list_methods() if SPACES.get(method)])
def test_numbers_are_drawn_by_their_logarithm(method: str) -> None:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).ask()
    suggest(small_study(options={}).space(method), trial)
    ranges = [kind for kind in trial.distributions.values() if isinstance(kind, FloatDistribution)]
    assert all(kind.log for kind in ranges) and (ranges or method in ("hgkd", "spark"))


def test_what_optuna_is_told() -> None:
    """The score at full length is the value; those of rungs are only on the way there."""
    study, scores = one_cell(), ((2, 70.0), (6, 60.0))
    options = draw_wave(study, CELL, 0, [])[1]
    done, given_up, lost = (
        told(study.space("kd"), Result(options, status, reached))
        for status, reached in (("finished", scores), ("pruned", scores[:1]), ("failed", scores[:1]))
    )
    assert (done.state, done.value, done.intermediate_values) == (TrialState.COMPLETE, 60.0, dict(scores))
    assert (given_up.state, given_up.value, given_up.intermediate_values) == (TrialState.PRUNED, None, {2: 70.0})
    assert (lost.state, lost.value, lost.intermediate_values) == (TrialState.FAIL, None, {})


def test_a_first_wave_draws_its_default_no_second_time() -> None:
    """The space has two settings, of which one is the default."""
    study = replace(one_cell(), choices={"kd": {"weight": (1.0, 2.0), "temperature": (1.0,)}})
    assert [options["weight"] for options in draw_wave(study, CELL, 0, [])] == [1.0, 2.0]


def test_choices_of_an_option_that_the_space_leaves_alone_are_drawn() -> None:
    """The default setting keeps its own, and what was drawn lies in the space."""
    stages = (0, 2, 3)
    study = replace(small_study(options={}), methods=("pat",), choices={"pat": {"feature_stages": stages}})
    cell, sampler = CELL._replace(method="pat"), optuna.samplers.RandomSampler(0)
    trials = optuna.create_study(sampler=sampler)
    drawn = [complete(study, cell, suggest(study.space("pat"), trials.ask())) for _ in range(20)]
    assert {options["feature_stages"] for options in drawn} == set(stages)
    assert all(lies_in_space(study, cell, options) for options in drawn)
    assert not lies_in_space(study, cell, {**drawn[0], "feature_stages": 1})
    assert default_options(study, cell)["feature_stages"] == 0


def test_from_the_second_wave_on_it_goes_where_scores_were_better() -> None:
    study = one_cell(trials=16, wave=8)
    first = draw_wave(study, CELL, 0, [])
    assert len(first) == 8

    def temperatures(sign: int) -> float:
        """The mean logarithm in second waves, after a first one in which more (+1) or less (-1) was better."""
        results = [Result(o, "finished", ((2, 50.0), (6, 50 + sign * np.log(o["temperature"])))) for o in first]
        named = (replace(study, name=f"study-{number}") for number in range(4))
        return float(np.mean([np.log(o["temperature"]) for s in named for o in draw_wave(s, CELL, 1, results)]))

    assert temperatures(+1) > temperatures(-1) + 0.1


def test_rungs_are_the_nearest_whole_epochs() -> None:
    assert Search(rungs=(1 / 3, 0.7, 1.0)).epochs(5) == (2, 4, 5) and Search().epochs(4) == (1, 4)


def test_the_best_share_of_those_that_began_a_rung_goes_on() -> None:
    """Of five the best two; of four the best two, also where another one has diverged."""
    five = after(one_cell(trials=5, wave=5), *(state({2: score}) for score in (10, 50, 30, 40, 20)))
    assert sorted(places(five.ready)) == [1, 3] and sorted(places(five.prune)) == [0, 2, 4]
    assert {segment.until for segment in five.ready if segment.phase == "search"} == {6}
    bad = state({1: 90}, "diverged")
    four = after(one_cell(), state({2: 10}), bad, state({2: 30}), state({2: 20}))
    assert sorted(places(four.ready)) == [2, 3] and places(four.prune) == [0]


def test_of_equals_the_earlier_goes_on_and_wins() -> None:
    study = one_cell()
    found = after(study, *[state({2: 50})] * 4)
    assert sorted(places(found.ready)) == [0, 1] and sorted(places(found.prune)) == [2, 3]
    done, given_up = state({2: 50, 6: 60}, "finished"), state({2: 50}, "pruned")
    assert chosen(after(study, done, done, given_up, given_up)) == 0


def chosen(found: Plan) -> int:
    """The place of the setting that is confirmed as the tuned one."""
    (text,) = {row.options for row in found.rows if row.setting == "tuned"}
    return [as_text(run.config.method.options) for run in first_wave(one_cell())].index(str(text))


def test_the_score_at_full_length_decides() -> None:
    given_up = state({2: 50}, "pruned")
    ends = state({2: 70, 6: 71}, "finished"), state({2: 60, 6: 72}, "finished"), given_up, given_up
    assert chosen(after(one_cell(), *ends)) == 1


def test_the_epochs_that_are_left() -> None:
    """Each of two waves: four runs of 2 epochs, two of them 4 more. Then two settings on two seeds."""
    study, wave, confirmation = one_cell(trials=8), 4 * 2 + 2 * 4, 2 * 2 * 6
    assert Planner(study, {}).left()[Key("cell", CELL)] == 2 * wave + confirmation
    begun = {run.run_id: state({2: 10 * place}) for place, run in enumerate(first_wave(study))}
    assert Planner(study, begun).left()[Key("cell", CELL)] == 2 * 4 + wave + confirmation


def test_a_default_that_wins_is_confirmed_once() -> None:
    study = one_cell()
    done, given_up = state({2: 50, 6: 60}, "finished"), state({2: 50}, "pruned")
    ends = dict(zip((run.run_id for run in first_wave(study)), (done, done, given_up, given_up), strict=True))
    planner = Planner(study, ends)
    assert [segment.phase for segment in planner.units[Key("cell", CELL)].ready] == ["confirm"] * study.seeds
    assert planner.left()[Key("cell", CELL)] == study.seeds * 6
    assert {row.setting for row in planner.rows()} == {"scratch", "default", "tuned"}


def test_the_matrix_shows_the_last_epoch_of_the_exported_weights() -> None:
    study = small_study()
    rows = matrix_rows(study, plan(study, {}).rows, {})
    assert {(row["student"], row["rule"], row["weights"]) for row in rows} == {
        (MLP_STUDENT, "last", "ema"),
        (CNN_STUDENT, "last", "raw"),
    }


def test_a_correction_of_the_pair_comes_before_that_of_the_student() -> None:
    of_student, of_pair = {"kd": {"weight": 2.0, "temperature": 2.0}}, {"kd": {"weight": 3.0}}
    corrections = {f"{CELL.teacher}:{CELL.student}": of_pair, f":{CELL.student}": of_student}
    found = default_options(replace(one_cell(), corrections=corrections), CELL)
    assert (found["weight"], found["temperature"]) == (3.0, 2.0)


def test_a_wave_in_which_something_failed_is_followed_by_the_next() -> None:
    ends = state({2: 50, 6: 60}, "finished"), state({2: 50, 6: 60}, "finished"), state({2: 40}, "pruned")
    found = after(one_cell(trials=8), *ends, state({1: 40}, "diverged"))
    assert sorted(places(found.ready)) == [4, 5, 6, 7], "trials count on through the waves"


def test_search_and_confirmation_share_no_seed() -> None:
    """No decision has seen the seeds of the confirmation: each counts from the one after the search's."""
    done, given_up = state({2: 50, 6: 60}, "finished"), state({2: 50}, "pruned")
    found = after(one_cell(), done, done, given_up, given_up)
    assert {run.config.seed for run in first_wave(one_cell())} == {SEARCH_SEED}
    teachers = [segment for segment in plan(small_study(), {}).ready if segment.phase == "teacher"]
    assert {segment.config.seed for segment in teachers} == {SEARCH_SEED}, "one run each, whatever the study's seeds"
    confirmed = {segment.config.seed for segment in found.ready if segment.phase == "confirm"}
    assert confirmed == {row.seed for row in found.rows} == {SEARCH_SEED + 1, SEARCH_SEED + 2}

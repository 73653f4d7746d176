"""A method without a teacher in a study: a search and a run a seed for each student, shown for each of its pairs."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, VIT_TEACHER, simulate, small_study

import sweeps.costs.expect
from analysis import read_runs
from analysis.frames import Frames, load
from analysis.searches import pairs
from analysis.tables import costs, trials
from pat.config import ConfigError
from sweeps.__main__ import main
from sweeps.costs.expect import configs
from sweeps.costs.flops import Count, Work
from sweeps.costs.plan_text import plan_text
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.planning.anchors import anchors_of
from sweeps.planning.planner import Planner
from sweeps.planning.units import Key
from sweeps.store import open_study
from sweeps.study import Cell

PAIRS = ((CNN_TEACHER, MLP_STUDENT), (VIT_TEACHER, MLP_STUDENT), (VIT_TEACHER, CNN_STUDENT))
STUDY = small_study(pairs=PAIRS, methods=("kd", "uskd"))
OWN = [Cell("", MLP_STUDENT, "uskd"), Cell("", CNN_STUDENT, "uskd")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The replayed study."""
    import small

    import sweeps.engine.runs

    storage = tmp_path_factory.mktemp("teacherless")
    made, grown = open_study(storage, STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps.engine.runs, "train", small.fake_train)
        run_here(Driver(made, grown, STUDY, storage, stream=io.StringIO()))
    yield made


@pytest.fixture(scope="module")
def frames(folder: Path) -> Frames:
    return load(folder)


def test_each_student_has_one_cell() -> None:
    assert STUDY.cells() == [
        Cell(CNN_TEACHER, MLP_STUDENT, "kd"), OWN[0], Cell(VIT_TEACHER, MLP_STUDENT, "kd"),
        Cell(VIT_TEACHER, CNN_STUDENT, "kd"), OWN[1],
    ]  # fmt: skip
    alone = small_study(pairs=PAIRS, methods=("uskd",))
    assert not alone.used_teachers() and simulate(alone).complete
    assert {config.teacher is None for config in map(configs(STUDY).get, (Key("cell", cell) for cell in OWN))} == {True}


def test_it_is_searched_and_confirmed_once_a_student(folder: Path) -> None:
    runs = read_runs(folder)
    runs = runs[runs["method"] == "uskd"]
    assert set(runs["teacher"]) == {""} and runs["teacher_weights"].isna().all()
    searched, confirmed = (runs[runs["phase"] == phase] for phase in ("search", "confirm"))
    assert Counter(searched["student"]) == {MLP_STUDENT: 4, CNN_STUDENT: 4}
    assert all(count in (2, 4) for count in Counter(confirmed["student"]).values()), "default and tuned, two seeds each"


def test_it_stands_beside_every_teacher_of_its_student(folder: Path, frames: Frames) -> None:
    rows = frames.matrix[frames.matrix["method"] == "uskd"]
    found = {key: tuple(group["run_id"]) for key, group in rows.groupby(["teacher", "student", "setting"])}
    assert found.keys() == {(*pair, setting) for pair in PAIRS for setting in ("default", "tuned")}
    for setting in ("default", "tuned"):
        assert found[CNN_TEACHER, MLP_STUDENT, setting] == found[VIT_TEACHER, MLP_STUDENT, setting]
    cells = frames.cells[frames.cells["method"] == "uskd"].set_index(["teacher", "student", "setting"])
    assert set(cells["status"]) == {"finished"} and cells["teacher_score"].isna().all()
    one, other = (cells.loc[(teacher, MLP_STUDENT, "default")] for teacher in (CNN_TEACHER, VIT_TEACHER))
    assert one["gain_over_scratch"] == other["gain_over_scratch"]
    assert one["gain_over_scratch_p_holm"] == other["gain_over_scratch_p_holm"]


def test_a_part_of_the_study_shows_that_part(folder: Path) -> None:
    asked = small_study(pairs=PAIRS[2:], methods=("uskd",))
    before = (folder / "matrix.parquet").read_bytes()
    driver = Driver(folder, STUDY, asked, folder, stream=io.StringIO())
    driver.write_matrix()
    rows = load(folder).matrix
    (folder / "matrix.parquet").write_bytes(before)
    assert driver.planner.complete and set(rows["teacher"]) == {"", VIT_TEACHER}
    assert set(rows.loc[rows["method"] == "uskd", "student"]) == {CNN_STUDENT}


def test_what_it_has_cost_and_tried_is_counted_once(frames: Frames) -> None:
    table = costs.prepare(frames)
    own = table[table["method"] == "uskd"]
    assert list(own["teacher"]) == ["", ""] and (own["search_runs"] == 4).all()
    assert table["hours"].sum() == pytest.approx(frames.runs["seconds"].sum() / 3600)
    tried = trials.prepare(frames)
    labels = set(pairs(tried[tried["method"] == "uskd"])["label"])
    assert len(labels) == 2 and all(label.startswith("no teacher → ") for label in labels)


def test_plan_and_status_show_it_in_every_pair(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Count(Work(1e9, 0), Work(1e8, 0), 3, 1)
    monkeypatch.setattr(sweeps.costs.expect, "counts", lambda runs, say: dict.fromkeys(runs, one))
    text = plan_text(STUDY, STUDY, folder)
    assert "3 pairs, 5 cells" in text
    table = [line.split() for line in text[text.index("runs done") :].splitlines()[2:5]]
    assert all(len(line) == 4 for line in table) and table[0][3] == table[1][3]
    assert main(["status", str(folder)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = [line for line in lines if tuple(line[:2]) in PAIRS]
    assert shown == [[*pair, "2/2", "4/4", "4/4"] for pair in PAIRS]


def test_what_cannot_be_said_of_it() -> None:
    with pytest.raises(ConfigError, match=f"'uskd' takes no teacher, write ':{MLP_STUDENT}'"):
        small_study(methods=("uskd",), corrections={f"{CNN_TEACHER}:{MLP_STUDENT}": {"uskd": {"beta": 1.0}}})
    corrected = small_study(methods=("uskd",), corrections={f":{MLP_STUDENT}": {"uskd": {"beta": 1.0}}})
    run = configs(corrected)[Key("cell", Cell("", MLP_STUDENT, "uskd"))]
    assert run.method.options["beta"] == 1.0


def test_it_waits_for_no_anchor() -> None:
    anchored = small_study(pairs=PAIRS, methods=("kd", "uskd"), anchors=(PAIRS[0],))
    assert anchors_of(anchored, Cell(*PAIRS[1], "kd")) and not anchors_of(anchored, OWN[0])
    ready = {segment.cell for segment in Planner(anchored, {}).ready() if segment.phase == "search"}
    assert ready == set(OWN)

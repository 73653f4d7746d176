"""Runs that another text of one's own files has trained: they are kept, said, and set aside when that is asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import method_text
import pytest
from small import CNN_TEACHER, MLP_STUDENT, small_study
from test_driver import drive

import sweeps.engine.runs
from analysis import read_runs
from pat.config import RunConfig
from pat.io import IO
from pat.plugins import announce
from pat.train import Outcome
from sweeps.commands.train import main
from sweeps.engine.keep import SET_ASIDE, retry
from sweeps.engine.live import live
from sweeps.engine.lock import Pulse
from sweeps.engine.siblings import _look
from sweeps.engine.texts import FILE, changed, changed_lines
from sweeps.looking.picture import Reader
from sweeps.looking.status_text import status_text
from sweeps.planning.search import Waves
from sweeps.search import Search
from sweeps.spaces import Linear
from sweeps.waves import read_waves
from tests.pat.folders import make

pytestmark = pytest.mark.usefixtures("forgotten")
METHOD = "from own_part import weigh\n" + method_text.METHOD.replace("(self.weight, kd", "(weigh(self.weight), kd")


def write(folder: Path, body: str = "return weight", method: str = METHOD) -> None:
    """One's own files with this text, imported as by a Python that has just begun."""
    (folder / "own_part.py").write_text(f"def weigh(weight):\n    {body}\n")
    (folder / "own_mine.py").write_text(method)
    for name in ("own_mine", "own_part"):
        sys.modules.pop(name, None)
    announce("own_mine", str(folder))


def study(**changes: Any) -> Any:
    search = Search(trials=2, wave=2, rungs=(1.0,))
    pairs, spaces = ((CNN_TEACHER, MLP_STUDENT),), {"own_mine": {"weight": Linear(0.5, 2)}}
    return small_study(pairs=pairs, methods=("own_mine",), spaces=spaces, search=search, seeds=1, **changes)


def of_mine(waves: Waves) -> list[tuple[int, Any]]:
    return [(number, settings) for (cell, number), settings in waves.items() if cell.method == "own_mine"]


def test_runs_of_another_text(replayed: None, tmp_path: Path) -> None:
    write(tmp_path)
    folder, _, _ = drive(tmp_path, study())
    rows = read_runs(folder)
    mine = set(rows[rows["method"] == "own_mine"]["run_id"])
    kept = {path.parent.name: json.loads(path.read_text()) for path in folder.glob(f"runs/*/{FILE}")}
    assert set(kept) == mine and len(mine) >= 3 and {*map(tuple, kept.values())} == {("own_mine.py", "own_part.py")}
    assert changed(folder) == [] == retry(folder, "changed")

    write(tmp_path, "return weight  # the same")
    assert changed(folder) == []
    write(tmp_path, "return 2 * weight")
    assert {one.run_id for one in changed(folder)} == mine
    (line,) = changed_lines(folder, changed(folder))
    old, new = kept[next(iter(mine))]["own_part.py"][0], changed(folder)[0].files["own_part.py"][1]
    text = f"{len(mine)} runs of own_mine of another text of it ({old}, now {new}) are kept"
    assert line == f"own_part.py has changed: {text}; --retry changed sets them aside and trains again"
    folder, driver, said = drive(tmp_path, study())
    assert driver.planner.complete and set(read_runs(folder)["run_id"]) == set(rows["run_id"])  # nothing ran again
    drawn = read_waves(folder)
    assert set(retry(folder, "changed")) == mine and changed(folder) == []
    assert set(read_runs(folder)["run_id"]) == set(rows["run_id"]) - mine
    assert not of_mine(read_waves(folder)) and of_mine(drawn)
    assert {path.name.partition("-")[0] for path in (folder / SET_ASIDE).glob("*-1") if path.is_dir()} == mine
    folder, driver, _ = drive(tmp_path, study())
    assert driver.planner.complete and set(read_runs(folder)["run_id"]) == set(rows["run_id"])
    assert read_waves(folder) == drawn  # their scores are the same, as nothing is trained here
    assert {tuple(json.loads(path.read_text())["own_part.py"]) for path in folder.glob(f"runs/*/{FILE}")} == {(new,)}


def test_a_run_that_has_begun_with_another_text(replayed: None, tmp_path: Path) -> None:
    """Two texts in one run: it is of another text however it goes on. The status says so, too."""
    write(tmp_path)
    folder, driver, _ = drive(tmp_path, study())
    run_id = next(path.parent.name for path in folder.glob(f"runs/*/{FILE}"))
    (folder / "runs" / run_id / "run.parquet").unlink()
    write(tmp_path, "return 3 * weight")
    driver.changed = changed_lines(folder, found := changed(folder))
    assert run_id in {one.run_id for one in found}
    pulse = Pulse(folder)
    pulse.facts = lambda: live(driver)
    pulse.beat()
    assert f"changed {driver.changed[0]}\n" in status_text(Reader(folder).look(), None)
    drive(tmp_path, study())
    assert len(json.loads((folder / "runs" / run_id / FILE).read_text())["own_part.py"]) == 2
    assert run_id in {one.run_id for one in changed(folder)}


def test_what_was_trained_from_it_goes_with_it(tmp_path: Path, exporting: list[str]) -> None:
    """The students of a teacher, whatever trains them: its bytes will be others."""
    write(tmp_path)
    folder, _, _ = drive(tmp_path, study())
    rows = read_runs(folder)
    mine = rows.query("method == 'own_mine'")["run_id"].iloc[0]
    assert _look(folder, mine)[0] is not None
    teacher = rows[rows["phase"] == "teacher"]["run_id"].item()
    taught = set(rows[rows["teacher"] != ""]["run_id"])
    (folder / "runs" / teacher / FILE).write_text(json.dumps({"own_part.py": ["an older one"]}))
    assert _look(folder, teacher) == (None, f"study {folder.name!r} has trained it by another text of own_part.py")
    assert set(retry(folder, "changed")) == {teacher} | taught
    assert set(read_runs(folder)["phase"]) == {"scratch"}
    assert {cell for cell, _ in read_waves(folder)} == set()
    exporting.clear()
    drive(tmp_path, study())
    assert set(exporting) == {teacher} | taught and changed(folder) == []


ALONE = """
from own_part import weigh
from pat.methods import Method, register_method

@register_method
class Mine(Method):
    teacherless = True

    def forward(self, images, targets, indices=None):
        seen = self.see(images, targets)
        return self.result(seen, targets, mine=(weigh(1), seen.logits.square().mean()))
"""


def test_train_keeps_or_trains_again(
    replayed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "set", {"train": 6, "test": 2})
    trained, replay = list[str](), sweeps.engine.runs.train

    def train(config: RunConfig, io: IO, **rest: Any) -> Outcome:
        trained.append(config.method.name)
        return replay(config, io, **rest)

    monkeypatch.setattr(sweeps.engine.runs, "train", train)
    monkeypatch.chdir(tmp_path)
    command = ["--student", MLP_STUDENT, "--method", "own_mine", "--import", "own_mine", "--data", "set"]
    command += ["--batch-size", "8", "--image-size", "32", "--storage", "runs", "--epochs", "1"]
    write(tmp_path, method=ALONE)
    assert main(command) == 0 and "has changed" not in capsys.readouterr().out
    write(tmp_path, "return 2 * weight", method=ALONE)
    assert main(command) == 0 and trained == ["own_mine"]
    said = capsys.readouterr().out
    assert "own_part.py has changed: 1 run of own_mine of another text" in said
    assert "is kept; --retry sets it aside and trains again" in said
    assert main([*command, "--retry"]) == 0 and trained == ["own_mine"] * 2
    assert main(command) == 0 and trained == ["own_mine"] * 2
    assert "has changed" not in capsys.readouterr().out

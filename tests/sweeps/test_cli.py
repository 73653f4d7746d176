"""The commands: bad input is one line and exit code 2, whatever it is."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from small import small_study

import sweeps.commands.grid
from analysis.live import FILE, LOCK
from sweeps.__main__ import main as train_main
from sweeps.commands.grid import main
from sweeps.costs.devices import Devices, agree
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.engine.jobs import STOP
from sweeps.engine.lock import locked
from sweeps.guard import guarded
from sweeps.presets import PRESETS
from sweeps.store import grown_study, open_study, read_study, write_study

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "sweeps" / "hetero_grid.py"


@pytest.fixture
def small_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "small", small_study)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "digit"], "unknown preset 'digit'; did you mean digits?"),
        (["--methods", "kd,pta"], "unknown method 'pta'"),
        (["--pairs", "0"], "--pairs 0: study 'digits' has 1 to 9 pairs"),
        (["--pairs", "resnet"], "teacher:student"),
        (["--pairs", "vit_micro_patch8:mixer_nano_patch8_32"], "unknown teacher 'vit_micro_patch8'"),
        (["--trials", "6"], "search.trials = 6: 0, or whole waves of 4"),
        (["--seeds", "x"], "--seeds 'x': a number of seeds, or seeds as 1,5,7"),
        (["--price", "-1"], "--price -1.0: money per device-hour"),
        (["--devices", "0"], "--devices 0: a positive number"),
        (["--wait", "-1"], "--wait -1.0: minutes, not negative"),
        (["--stage", "none", "--data-root", "s3://bucket"], "--stage none: data sets in 's3://bucket' must be copied"),
        (["--keep", "some"], "invalid choice: 'some'"),
        (["--seeds", "0"], "seeds = 0"),
        (["--workers", "5"], "workers = 5: the batch of"),
        (["--storage", "s3://bucket"], "storage"),
        (["--frobnicate"], "unrecognized arguments"),
        (["--storage", "/dev/null/x"], "cannot"),
        (["--preset", "cifar100"], "needs a GPU and there is none; what works here: python sweeps/hetero_grid.py"),
        (["--preset", "cifar100-small", "--data-root", "/nowhere"], "--preset digits"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = [*([] if "--preset" in arguments else ["--preset", "digits"]), *arguments]
    given += [] if "--storage" in arguments else ["--storage", str(tmp_path)]
    if "--preset" in arguments and sweeps.commands.grid.torch.cuda.is_available() and "cifar100" in arguments:
        pytest.skip("this machine has a GPU")
    assert main(given) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1


def test_the_script_by_itself(tmp_path: Path) -> None:
    """From another folder, as `ray submit` starts it: exit code 2, one line, no traceback. The packages are those
    beside it, not those of a cluster's copy in the home folder."""
    copy = tmp_path / "pat-sweeps" / "sweeps"
    copy.mkdir(parents=True)
    (copy / "__init__.py").write_text("raise SystemExit('the code of another copy')")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--preset", "digits", "--methods", "nothing"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    first, *slow, error = done.stderr.splitlines()
    assert all(line.endswith(" s so far") for line in slow)  # on a busy machine
    assert (done.returncode, done.stdout, first) == (2, "", "starting") and error.startswith("error: ")


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans neither count FLOPs nor probe nor try settings, which takes minutes."""
    for place in ("sweeps.costs.expect", "sweeps.commands.plan"):
        monkeypatch.setattr(f"{place}.images_of", lambda data, root: None)
    monkeypatch.setattr("sweeps.commands.plan.local_devices", lambda *rest: Devices("a small box", False, 2, 1.0))


@pytest.mark.usefixtures("uncounted")
def test_the_plan_names_every_pair_and_writes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--preset", "cifar100", "--plan", "--storage", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "  1. swin_tiny_patch4_window7_224 -> resnet18\n" in text
    assert " 12. swin_tiny_patch4_window7_224 -> resmlp_12_224\n" in text
    assert "vit_small_patch16_224.augreg_in21k_ft_in1k" in text and not list(tmp_path.iterdir())


@pytest.mark.usefixtures("uncounted")
def test_a_plan_needs_no_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--preset", "cifar100-small", "--plan", "--storage", str(tmp_path), "--data-root", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "9 pairs, 18 cells" in said.out and said.err.startswith("no probes: data set CIFAR100 not found")


@pytest.mark.usefixtures("replayed", "small_preset", "uncounted", "undrawn")
def test_a_complete_study_needs_no_ray(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = small_study()
    folder, _ = open_study(tmp_path, study)
    run_here(Driver(folder, study, study, tmp_path))
    capsys.readouterr()
    assert main(["--preset", "small", "--storage", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "0 failed" in said and "report in" in said
    assert main(["--preset", "small", "--storage", str(tmp_path), "--plan"]) == 0
    assert "8/8" in capsys.readouterr().out


@pytest.mark.usefixtures("small_preset", "uncounted")
def test_other_workers_are_a_study_of_their_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    open_study(tmp_path, small_study())
    assert main(["--preset", "small", "--workers", "2", "--plan", "--storage", str(tmp_path)]) == 0
    assert "study small-2workers" in capsys.readouterr().out


@pytest.mark.usefixtures("small_preset", "uncounted")
@pytest.mark.parametrize(
    ("answer", "flags", "code"), [("n", [], 2), ("y", [], 0), ("", ["--yes"], 0), (None, [], 4), (None, ["--yes"], 0)]
)
def test_a_dear_study_asks_before_it_starts(
    answer: str | None, flags: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody sits at a terminal it starts with a flag alone."""
    monkeypatch.setattr("sweeps.costs.forecast.ASK_ABOVE", 0.0)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: answer is not None))
    monkeypatch.setattr("builtins.input", lambda question: answer)
    study, started = small_study(), []
    folder, _ = open_study(tmp_path, study)
    driver = Driver(folder, study, study, tmp_path, stream=io.StringIO())

    def start() -> int:
        agree(driver.planner, folder, tmp_path, Devices("", False, 2, 1.0), 3.0, "all", bool(flags), lambda line: None)
        started.append(1)
        return 0

    assert guarded(start, verbose=False) == code and len(started) == (code == 0)
    assert (folder / "forecast.json").exists() == (code == 0)


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's way through a study, driven in this process; every study is a dear one."""
    monkeypatch.setattr("sweeps.engine.cluster.ray_running", lambda *rest: contextlib.nullcontext())
    monkeypatch.setattr("sweeps.commands.grid.cluster_devices", lambda *rest, **more: Devices("", False, 2, 1.0))
    monkeypatch.setattr("sweeps.engine.launch.launch", lambda driver, *rest, **more: run_here(driver))
    monkeypatch.setattr("sweeps.costs.forecast.ASK_ABOVE", 0.0)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))


def _answer(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr("builtins.input", lambda question: answer)


def _kept(folder: Path) -> dict[str, bytes]:
    """What a study's folder says, without the lock and the sign of life."""
    found = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name not in (LOCK, FILE)}


@pytest.mark.usefixtures("replayed", "small_preset", "uncounted", "undrawn", "without_ray")
def test_a_typo_that_is_answered_with_no_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where the study is new, nor where it is there; after a yes it is what was asked for."""
    command, folder = ["--preset", "small", "--storage", str(tmp_path)], tmp_path / "small"
    _answer(monkeypatch, "n")
    assert main([*command, "--trials", "400"]) == 2 and _kept(folder) == {}
    _answer(monkeypatch, "y")
    assert main(command) == 0
    before = _kept(folder)
    _answer(monkeypatch, "n")
    assert main([*command, "--trials", "400", "--seeds", "9"]) == 2 and _kept(folder) == before
    _answer(monkeypatch, "y")
    assert main([*command, "--seeds", "3"]) == 0
    assert (grown := read_study(folder)) is not None and (grown.seeds, grown.search.trials) == (3, 4)


@pytest.mark.usefixtures("small_preset", "uncounted")
def test_a_second_driver_that_is_refused_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = open_study(tmp_path, small_study())
    before = _kept(folder)
    with locked(folder):
        assert main(["--preset", "small", "--storage", str(tmp_path), "--seeds", "9"]) == 2
    assert "works on the study" in capsys.readouterr().err and _kept(folder) == before


@pytest.mark.usefixtures("uncounted", "without_ray")
def test_a_mistyped_run_is_refused_before_there_is_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mistyped = small_study(initial={":mixer_nano_patch8_32": f"run:{'0' * 16}"})
    monkeypatch.setitem(PRESETS, "small", lambda: mistyped)
    assert main(["--preset", "small", "--storage", str(tmp_path), "--yes"]) == 2
    assert "has that run" in capsys.readouterr().err and _kept(tmp_path / "small") == {}


@pytest.mark.usefixtures("uncounted")
def test_rungs_inside_a_warmup_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a study begins; one that has begun goes on."""
    slow = {name: replace(recipe, warmup_epochs=2) for name, recipe in small_study().students.items()}
    monkeypatch.setitem(PRESETS, "small", lambda: small_study(students=slow))
    assert main(["--preset", "small", "--storage", str(tmp_path), "--plan"]) == 2
    words = "search.rungs = (0.3333333333333333, 1.0): the first one is at epoch 2 of 'mixer_nano_patch8_32'"
    said = capsys.readouterr().err
    assert words in said and "warm-up of 2 epochs; more than 0.333 is needed" in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())
    folder = tmp_path / "small"
    write_study(folder, small_study(students=slow))
    assert grown_study(folder, small_study(students=slow)).students == slow


def test_stopping_a_study_that_nobody_drives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_main(["stop", str(tmp_path)]) == 2
    assert "no driver works on the study" in capsys.readouterr().err
    with locked(tmp_path):
        assert train_main(["stop", str(tmp_path)]) == 0
    assert (tmp_path / STOP).exists() and f"asked pid {os.getpid()}" in capsys.readouterr().out

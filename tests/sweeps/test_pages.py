"""Every code block of README and docs does what it says. docs/developing.md has the rule, which a reader sees, too."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import page_commands
import pytest
import siblings
from page_blocks import LANGUAGES, PAGES, ROOT, Block, blocks, unfenced

import sweeps.engine.runs
from analysis.frames import load
from pat import options
from pat.data import base as data
from pat.methods import base as methods
from pat.methods import list_methods
from sweeps.__main__ import COMMANDS
from sweeps.costs.devices import Devices
from sweeps.engine.alone import run_here
from sweeps.presets import PRESETS
from tests.golden import ledgers
from tests.pat.folders import make
from tests.tiny import load_tiny

WITH_CODE = [page for page in PAGES if blocks(page) and page.name != "CHANGELOG.md"]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: None) -> Iterator[Path]:
    """Where a reader stands: the images that pages name, digits of some images, no probes."""
    make(tmp_path / "path" / "to" / "flowers", {"train": 8, "test": 2})
    for name, known in ((methods, "_methods"), (data, "_loaders"), (data, "_folders"), (data, "_truths")):
        monkeypatch.setattr(name, known, dict(getattr(name, known)))
    monkeypatch.setattr(options, "_declared", {kind: dict(known) for kind, known in options._declared.items()})
    monkeypatch.setitem(data._loaders, "digits", load_tiny)
    for place in ("sweeps.costs.expect", "sweeps.commands.plan"):
        monkeypatch.setattr(f"{place}.images_of", lambda data, root: None)
    for place in ("plan.local_devices", "plan.cluster_devices", "grid.cluster_devices"):
        monkeypatch.setattr(f"sweeps.commands.{place}", lambda *rest, **more: Devices("two cores", False, 2, 1.0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    modules, presets = set(sys.modules), dict(PRESETS)
    yield tmp_path
    for name in set(PRESETS) - set(presets):
        del PRESETS[name]
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> contextlib.ExitStack:
    """Within it runs are replayed in this process, and a report is its table of cells."""
    stack = contextlib.ExitStack()

    def enter() -> None:
        patched = stack.enter_context(monkeypatch.context())
        patched.setattr(sweeps.engine.runs, "train", siblings.exporting_train)
        patched.setattr("sweeps.engine.cluster.ray_running", lambda *rest: contextlib.nullcontext())
        patched.setattr("sweeps.engine.launch.launch", lambda driver, *rest, **more: run_here(driver))
        patched.setattr("sweeps.commands.grid.write_report", cells_alone)
        patched.setattr("sweeps.commands.grid._measure_teachers", lambda *rest: None)

    stack.enter = enter  # type: ignore[attr-defined]
    return stack


def cells_alone(folder: Path) -> str:
    """In the place of a report: the table that `Result.cells` reads."""
    place = folder / "report" / "tables"
    place.mkdir(parents=True, exist_ok=True)
    load(folder).table("cells").to_parquet(place / "cells.parquet")
    return "cells"


def execute(block: Block, page: Path, names: dict[str, Any]) -> None:
    """A block of Python, whose lines a traceback gives as those of the page."""
    exec(compile("\n" * (block.line - 1) + block.text, name_of(page), "exec"), names)


def shell(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of commands, by its kind."""
    for words in page_commands.commands(block.text):
        found = page_commands.ours(words)
        if block.needs or (block.takes and (not found or found[0] != "pat-sweep")):
            page_commands.read(words, monkeypatch)
        else:
            one_epoch = ["--epochs", "1"] if words[0] == "pat-train" else []
            page_commands.run(words, ["--show"] if block.takes else one_epoch)


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_every_block(page: Path, folder: Path, made_up: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if any("runs/digits" in block.text for block in blocks(page) if not block.takes and not block.needs):
        ledgers.unpack(ledgers.PRESENT, folder / "runs").rename(folder / "runs" / "digits")
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text)
        elif block.language == "bash":
            shell(block, monkeypatch)
        elif block.language == "python" and block.needs:
            compile(block.text, name_of(page), "exec")
        elif block.language == "python":
            with made_up:
                if block.takes:
                    made_up.enter()
                execute(block, page, names)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_nothing_is_code_that_is_no_block(page: Path) -> None:
    """Of a language that is known, and no command hides in a text."""
    assert not unfenced(page)
    for block in blocks(page):
        assert block.language in LANGUAGES, (name_of(page), block.line)
        if block.language == "text":
            starts = {line.split()[0] for line in block.text.splitlines() if line.strip() and line[0] != " "}
            assert not starts & {*page_commands.OURS, "python", "make", "ray", "$"} - {"pat"}, (
                name_of(page),
                block.line,
            )


@pytest.mark.parametrize("page", [page for page in PAGES if "evidence" not in page.parts], ids=name_of)
def test_files_that_prose_names_are_there(page: Path) -> None:
    """Of dated pages and the changelog this cannot be asked."""
    named = re.findall(r"`([\w./-]+\.\w+)`", page.read_text()) if page.name != "CHANGELOG.md" else []
    assert not [place for place in named if page_commands.PLACES.fullmatch(place) and not (ROOT / place).exists()]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_pages_name_all_there_is() -> None:
    pages = {page: (ROOT / "docs" / f"{page}.md").read_text() for page in ("methods", "presets", "commands")}
    assert not [name for name in list_methods() if f"`{name}`" not in pages["methods"]]
    assert not [name for name in COMMANDS if f"sweeps {name}" not in pages["commands"]]
    for name in PRESETS:
        family, _, last = name.rpartition("-")
        assert f"`{name}`" in pages["presets"] or f"`-{last}`" in pages["presets"], name


def test_every_page_is_in_the_site() -> None:
    """Those of evidence in its overview too."""
    listed = (ROOT / "docs" / "evidence" / "index.md").read_text()
    assert not [page for page in (ROOT / "docs" / "evidence").glob("2*.md") if f"({page.name})" not in listed]
    site = (ROOT / "zensical.toml").read_text()
    assert not [page for page in (ROOT / "docs").rglob("*.md") if f'"{page.relative_to(ROOT / "docs")}"' not in site]


@pytest.mark.parametrize(
    "command",
    [
        "pat-sweep --trails 0",
        "pat-sweep --seeds",
        "python -m sweeps statu runs",
        "ray submit cluster/gpu.yaml sweeps/hetero_grid.py -- --preset digits --plann",
        "ray submitt cluster/gpu.yaml",
        "ray up --yess cluster/gpu.yaml",
        "ray exec cluster/gpu.yaml 'cd x && python -m sweeps status'",
        "bash cluster/hostss.sh up",
        "sbatch cluster/slurm.sh --frobnicate",
        "make demoo",
        "rm -rf runs",
    ],
)
def test_what_no_program_takes_is_noticed(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (words,) = page_commands.commands(command)
    with pytest.raises((AssertionError, click.UsageError)):
        page_commands.read(words, monkeypatch)


def test_how_a_line_is_read() -> None:
    text = "A=1 pat-sweep --pairs 'a:b' \\\n  --show  # why\ncd x && python -m sweeps status y > z; ray status | tail"
    assert page_commands.commands(text) == [
        ["pat-sweep", "--pairs", "a:b", "--show"],
        ["cd", "x"],
        ["python", "-m", "sweeps", "status", "y"],
        ["ray", "status"],
        ["tail"],
    ]

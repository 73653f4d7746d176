"""The text of one's own files: what is part of it, which files are, and that another one is noticed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pat.config import ConfigError
from pat.own_text import digest, edited, texts
from pat.plugins import VARIABLE, announce

TEXT = 'import own_b\nfrom own_pack import deep\nX = f"{1}{{"  # one\nif X:\n    Y = 2\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Own files that import each other, beside them what was installed."""
    place = tmp_path / "place"
    for name, text in {
        "own_a.py": TEXT,
        "own_b.py": "import json, torch\nfrom pat import config\nimport own_a\n",
        "own_pack/__init__.py": "",
        "own_pack/deep.py": "from . import deeper\nfrom .deeper import Z\nimport own_installed\n",
        "own_pack/deeper.py": "Z = 1\n",
        "venv/site-packages/own_installed.py": "",
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    monkeypatch.setenv(VARIABLE, "[]")
    monkeypatch.setattr(sys, "path", [str(place), str(place / "venv" / "site-packages"), *sys.path])
    yield place
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# one", "# two", True),
        ("\nif", "\n\n\n# here\nif", True),
        ("Y = 2", "Y  =  2 ", True),
        ("    Y = 2", "  Y = 2", True),
        ("Y = 2", "Y = 3", False),
        ("    Y", "Y", False),
        ("{1}", "{2}", False),
    ],
)
def test_what_a_text_is(old: str, new: str, same: bool, tmp_path: Path) -> None:
    """Not its comments and blanks; its indentation is. A file that is no Python has a digest, too."""
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text(TEXT)
    other.write_text(TEXT.replace(old, new))
    assert TEXT != TEXT.replace(old, new) and (digest(one) == digest(other)) == same
    one.write_bytes(b"\xff(")
    assert len(digest(one)) == 12


def test_words_do_not_run_together(tmp_path: Path) -> None:
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("X = not Y\n")
    other.write_text("X = notY\n")
    assert digest(one) != digest(other)


def test_which_files_are_own(folder: Path) -> None:
    """Those that are imported from beside it, in a circle or from a package; nothing that was installed."""
    importlib.import_module("own_a")
    own = {"own_a.py", "own_b.py", "own_pack/__init__.py", "own_pack/deep.py", "own_pack/deeper.py"}
    assert set(texts(["own_a"])) == own and "own_installed" in sys.modules
    assert texts(["pat.methods.kd", "json.decoder", "no_such_module", "builtins"]) == {}
    assert set(texts(["own_installed"])) == {"own_installed.py"}


def test_an_edit_is_seen_by_who_imported_before(folder: Path) -> None:
    before = texts(["own_a"]) if announce("own_a", str(folder)) else {}
    (folder / "own_b.py").write_text("import json\nNEW = 1\n")
    assert texts(["own_a"]) == before and edited("own_a") == ["own_b.py"]  # what this process has is the text of before
    with pytest.raises(ConfigError, match="own_b.py: edited since this Python imported it; start Python anew"):
        announce("own_a", str(folder))
    importlib.reload(sys.modules["own_b"])
    announce("own_a", str(folder))
    assert edited("own_a") == [] and texts(["own_a"])["own_b.py"] != before["own_b.py"]
    (folder / "own_a.py").write_text("this is no Python\n")
    assert edited("own_a") == ["own_a.py"]

"""Large annotation files are parsed once: what is kept is the same, found by content, and whole or of no account."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from pat.config import DataError
from pat.data import annotations as module
from pat.data.annotations import Annotated, read_annotations
from tests.pat.dense_sets import annotations, box_folder, read, write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set whose annotation files count as large; the cache is tmp_path/cache/pat."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "LARGE", 1)
    return box_folder(tmp_path / "farm")


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were parsed, in order."""
    seen, parse = [], module._parsed

    def note(file: Path, content: bytes) -> Annotated:
        seen.append(file)
        return parse(file, content)

    monkeypatch.setattr(module, "_parsed", note)
    return seen


def file_of(folder: Path, part: str = "train") -> Path:
    return folder / "annotations" / f"instances_{part}.json"


def kept(folder: Path) -> list[Path]:
    return sorted((folder.parent / "cache" / "pat").glob("*"))


def same(one: Annotated, other: Annotated) -> None:
    assert one.categories == other.categories and list(one.categories) == list(other.categories)
    assert one.names == other.names
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("sizes", "ids", "numbers")]
    pairs += [(getattr(one.boxes, name), getattr(other.boxes, name)) for name in vars(one.boxes)]
    assert len(pairs) == 8 and all(torch.equal(a, b) and a.dtype == b.dtype for a, b in pairs)


def test_what_is_kept_is_what_was_parsed(folder: Path, parsed: list[Path]) -> None:
    content = read(folder, "train")
    content["images"][0]["file_name"] = "gr\u00fcn \ud800 \u4e16.png"
    content["categories"].reverse()
    write(folder, "train", content)
    first, again = (read_annotations(file_of(folder)) for _ in range(2))
    assert parsed == [file_of(folder)] and len(kept(folder)) == 1
    same(first, again)
    assert len(again.boxes.labels) > 5 and set(again.boxes.labels.tolist()) <= set(again.categories)


def test_a_set_without_images_is_kept_too(folder: Path, parsed: list[Path]) -> None:
    write(folder, "val", {"images": [], "annotations": [], "categories": []})
    first, again = (read_annotations(file_of(folder, "val")) for _ in range(2))
    same(first, again)
    assert len(parsed) == 1 and again.names == [] and again.numbered({}).boxes.labels.tolist() == []


def test_a_file_that_has_changed_is_parsed_anew(folder: Path, parsed: list[Path]) -> None:
    """Also where its name, size and time are those of before."""
    file, status = file_of(folder), file_of(folder).stat()
    before = read_annotations(file)
    text = file.read_text()
    changed = text.replace('"area": 12.5', '"area": 13.5')
    assert changed != text and len(changed) == len(text)
    file.write_text(changed)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = read_annotations(file)
    assert (before.boxes.area == 12.5).all() and (after.boxes.area == 13.5).all()
    file.write_text(text)
    same(read_annotations(file), before)
    assert len(parsed) == 2 and len(kept(folder)) == 2


@pytest.mark.parametrize("what", ["empty", "half", "without its end", "one byte", "other"])
def test_what_is_torn_is_of_no_account(what: str, folder: Path, parsed: list[Path]) -> None:
    first = read_annotations(file_of(folder))
    (cache,) = kept(folder)
    whole = cache.read_bytes()
    middle = whole.index(first.boxes.area.numpy().tobytes())
    torn = {
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "without its end": whole[:-30],
        "one byte": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "other": b"{}",
    }[what]
    cache.write_bytes(torn)
    same(read_annotations(file_of(folder)), first)
    assert len(parsed) == 2 and kept(folder) == [cache]
    same(read_annotations(file_of(folder)), first)
    assert len(parsed) == 2, "it was replaced by a whole one"


def test_where_nothing_can_be_kept_it_is_parsed_each_time(folder: Path, parsed: list[Path]) -> None:
    (folder.parent / "cache").write_text("no folder")
    first, again = (read_annotations(file_of(folder)) for _ in range(2))
    same(first, again)
    assert len(parsed) == 2


def test_mistakes_and_small_files_are_not_kept(
    folder: Path, parsed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = annotations(0)
    content["annotations"][4]["bbox"] = [1, 2, 3]
    write(folder, "val", content)
    for _ in range(2):
        with pytest.raises(DataError, match="bbox = .* is not four numbers"):
            read_annotations(file_of(folder, "val"))
    monkeypatch.setattr(module, "LARGE", file_of(folder).stat().st_size + 1)
    read_annotations(file_of(folder))
    assert len(parsed) == 3 and not kept(folder)

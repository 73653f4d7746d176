"""The recorded walk over timm: whole, still true where it takes a moment to see, and what the page says of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm

from tests.pat import walk

PAGE = (Path(__file__).parents[2] / "docs" / "own-model.md").read_text()


def test_every_name_was_walked_once() -> None:
    """Other tests and `pat.architectures` have models of their own in timm's list."""
    if timm.__version__ not in walk.TAPS.name:
        pytest.skip(f"the record is not of timm {timm.__version__}")
    theirs = [name for name in timm.list_models() if timm.model_entrypoint(name).__module__.startswith("timm.")]
    assert sorted(row["name"] for row in walk.read(walk.TAPS)) == sorted(theirs)


@pytest.mark.parametrize(("role", "target"), [("student", 98), ("teacher", 95)])
def test_nearly_all_can_be_tapped(role: str, target: float) -> None:
    assert walk.figures(walk.read(walk.TAPS))[role]["percent"] >= target


@pytest.mark.parametrize("name", ["resnet10t", "deit_tiny_patch16_224", "hrnet_w18_small", "gemma4_vit_167m_enc"])
def test_a_walk_now_says_what_is_recorded(name: str) -> None:
    recorded = {row["name"]: row for row in walk.read(walk.TAPS)}[name]
    assert {**walk.examine(name), "seconds": 0} == {**recorded, "seconds": 0}


def test_the_page_says_what_is_recorded() -> None:
    figures = walk.figures(walk.read(walk.TAPS))
    said = re.findall(r"all ([\d,]+) names .* ([\d.]+) % are usable as student, ([\d.]+) %", PAGE.replace("\n", " "))
    found = (figures["models"], figures["student"]["percent"], figures["teacher"]["percent"])
    assert [tuple(float(number.replace(",", "")) for number in numbers) for numbers in said] == [found]

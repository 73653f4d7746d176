"""The code blocks of README and docs, and what each is: run, asked for, read, a file, or no command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")],
    key=lambda path: path.relative_to(ROOT).parts,
)
LANGUAGES = ("python", "bash", "text")


@dataclass(frozen=True)
class Block:
    """The lines of a block, the first of which is line `line` of its page."""

    language: str
    text: str
    line: int

    @property
    def first(self) -> str:
        return self.text.partition("\n")[0]

    @property
    def takes(self) -> bool:
        """Too long for a test: run with made-up scores, or asked for its study."""
        return self.first.startswith("# takes ")

    @property
    def needs(self) -> bool:
        """What is not here: its flags are read."""
        return self.first.startswith("# needs ")

    @property
    def file(self) -> str:
        """The file that the block is, else nothing."""
        found = re.fullmatch(r"# (\w+\.py)", self.first)
        return found[1] if found and self.language == "python" else ""


def blocks(page: Path) -> list[Block]:
    """Those of a page, in order."""
    return list(_blocks(page.read_text().splitlines()))


def _blocks(lines: list[str]) -> Iterator[Block]:
    found: list[str] | None = None
    for number, line in enumerate(lines, 1):
        if found is None and line.startswith("```"):
            found, language, start = [], line[3:], number + 1
        elif line == "```" and found is not None:
            yield Block(language, "\n".join(found) + "\n", start)
            found = None
        elif found is not None:
            found.append(line)
    assert found is None, "a block without an end"


def unfenced(page: Path) -> list[int]:
    """Lines that Markdown shows as code because they are indented; no test would see what they say."""
    inside, before, found = False, "", []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        inside ^= line.startswith("```")
        if not inside and line.startswith("    ") and not before.strip():
            found.append(number)
        before = line
    return found

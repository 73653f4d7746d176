"""The page of promises: what README and pages say, word for word, and the test, benchmark or page that stands for it.

`python -m tests.promises` writes docs/promises.md from docs/promises.toml, with the day and the commit in which what
stands for each was last changed.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README, SOURCE, PAGE = ROOT / "README.md", ROOT / "docs" / "promises.toml", ROOT / "docs" / "promises.md"
BENCH = "python -m tests.bench "
STRONG = re.compile(
    r"\d (?:times|%|points|seconds|minutes|hours|GB)|\b(?:bit for bit|never|always|nothing|exactly|any|same|equal)\b",
    re.IGNORECASE,
)
"""What makes a sentence a promise: a figure with a unit, or a word without exceptions."""


@dataclass(frozen=True)
class Promise:
    """`says`: pieces of the page `where`; `by`: what stands for them, and `how` in a line."""

    name: str
    says: tuple[str, ...]
    how: str
    by: tuple[str, ...]
    where: str = "README.md"


def promises() -> list[Promise]:
    """As docs/promises.toml has them."""
    entries = tomllib.loads(SOURCE.read_text())["promise"]
    return [Promise(**{key: tuple(x) if isinstance(x, list) else x for key, x in entry.items()}) for entry in entries]


def flat(text: str) -> str:
    """Without line ends, links and emphasis."""
    return " ".join(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("**", "").split())


def sentences(text: str) -> list[str]:
    """The sentences of a page, without its code but for the comments there."""
    prose, comments, code = [], [], False
    for line in text.splitlines():
        if line.startswith("```"):
            code = not code
            prose.append(".")
        elif not code:
            prose.append(f". {line[2:]}" if line.startswith(("- ", "# ")) else line or ".")
        elif "#" in line:
            comments.append(line.split("#", 1)[1].strip())
    return [part for part in re.split(r"(?<=[.!?])\s+", flat("\n".join(prose))) if len(part) > 1] + comments


def bare(text: str, known: list[Promise]) -> list[str]:
    """The sentences that promise something for which nothing stands."""
    said = [flat(piece) for promise in known for piece in promise.says]
    return [
        sentence
        for sentence in sentences(text)
        if STRONG.search(sentence) and not any(piece in sentence or sentence in piece for piece in said)
    ]


def missing(promise: Promise) -> list[str]:
    """What should stand for it and does not exist."""
    return [place for place in promise.by if not _exists(place)]


def page(known: list[Promise], last: Callable[[str], str]) -> str:
    """docs/promises.md. `last`: when what stands for something was last changed."""
    lines = [
        "# What is promised, and what stands for it",
        "",
        "Each promise of the README, and the larger ones of other pages, with the tests, benchmarks and pages behind",
        "it, and when these were last changed.",
        "Made by `python -m tests.promises`; a test finds sentences of the README for which nothing stands.",
        "",
    ]
    for promise in known:
        quoted = " ... ".join(f'"{flat(piece)}"' for piece in promise.says)
        place = "" if promise.where == "README.md" else f" ({_link(promise.where)})"
        lines += [f"## {promise.name}", "", f"{quoted}{place}", "", promise.how, ""]
        lines += [f"- {_link(place)} ({last(place)})" for place in promise.by] + [""]
    return "\n".join(lines)


def _file(place: str) -> Path:
    """The file that a place names: a page, a test, or the module of a benchmark."""
    if place.startswith(BENCH):
        return ROOT / "tests" / "bench" / f"{place.removeprefix(BENCH)}.py"
    return ROOT / place.split("::")[0]


def _exists(place: str) -> bool:
    file, _, name = _file(place), *place.partition("::")[1:]
    return file.exists() and (not name or f"def {name}(" in file.read_text())


def _link(place: str) -> str:
    path = place.split("::")[0]
    return f"[{path.removeprefix('docs/')}]({path.removeprefix('docs/')})" if path.startswith("docs/") else f"`{place}`"


def last_change(place: str) -> str:
    """The day and the commit of its file's last change."""
    command = ["git", "log", "-1", "--format=%as, %h", "--", str(_file(place))]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    PAGE.write_text(page(promises(), last_change))

"""One fault: a text in a source file, and what it is changed into."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`old` stands in `file` exactly once and becomes `new`; the file can still be imported then."""

    file: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.file}: {' '.join(self.old.split())} -> {' '.join(self.new.split())}"


def of(file: str, *changes: tuple[str, str]) -> list[Mutant]:
    """The mutants of one file, one for each (old, new)."""
    return [Mutant(file, old, new) for old, new in changes]

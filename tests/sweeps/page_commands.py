"""The commands of a shell block: run in this process, or only read by the parsers of those that they call."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click
import pytest
from page_blocks import ROOT

Main = Callable[[list[str]], int]
OURS = {
    "pat-sweep": "sweeps.commands.grid:main",
    "pat-train": "sweeps.commands.train:main",
    "pat-report": "analysis.__main__:report",
    "pat-taps": "pat.__main__:show_taps",
    "sweeps/hetero_grid.py": "sweeps.commands.grid:main",
    "sweeps": "sweeps.__main__:main",
    "analysis": "analysis.__main__:main",
    "pat": "pat.__main__:main",
    "sweeps.presets.remedies": "sweeps.presets.remedies:main",
    "tests.bench": "tests.bench.__main__:main",
    "tests.mutants": "tests.mutants.__main__:main",
}
SILENT = (
    "sweeps.version",
    "tests.evidence",
    "tests.golden",
    "tests.golden.ledgers",
    "tests.as_published",
    "pytest",
    "pip",
)
"""Modules whose arguments are nobody's here."""
FOREIGN = (
    ".", "bash", "cd", "chmod", "docker", "echo", "export", "gcloud", "git", "helm", "kubectl", "lint-imports", "mkdir",
    "mount", "mypy", "pip", "ruff", "scancel", "squeue", "sudo", "tail", "tee", "tensorboard", "exportfs", "uv",
    "zensical",
)  # fmt: skip
PLACES = re.compile(r"(?<![\w/~-])(?:cluster|docs|examples|pat|sweeps|analysis|tests)/[\w./-]*\w")


def commands(text: str) -> list[list[str]]:
    """The words of each command of a shell text: comments, redirections and variables in front are left out."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in (";", "&&", "|", "||", "&"):
                found += [words] if words else []
                words = []
            elif words or not re.fullmatch(r"[A-Z_]+=.*", word):
                words.append(word)
    return [words[: words.index(">")] if ">" in words else words for words in found]


def ours(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """Which of our commands this is, and what it is given; None for a program of others."""
    if words[0] in OURS:
        return words[0], list(words[1:])
    if words[0] not in ("python", ".venv/bin/python"):
        return None
    module, rest = (words[2], words[3:]) if words[1] == "-m" else (words[1], words[2:])
    return (module, list(rest)) if module in OURS else None


def run(words: Sequence[str], more: Sequence[str] = ()) -> None:
    """Run one of our commands, with `more` after what it is given; it must end well."""
    found = ours(words)
    assert found is not None, f"{' '.join(words)}: a block that begins with neither `# takes` nor `# needs` is run"
    try:
        code: Any = _main(found[0])([*found[1], *more])
    except SystemExit as end:  # of --help and --version
        code = end.code
    assert code == 0, " ".join(words)


def read(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command is given must be known to its parser; the files of this project that it names must be there."""
    for place in (place for word in words for place in PLACES.findall(word)):
        assert (ROOT / place).exists(), place
    found = ours(words)
    if found:
        with _only_parsed(monkeypatch) as parsed:
            _main(found[0])(found[1])
        assert parsed, " ".join(words)
    elif words[0] == "ray":
        _read_ray(words[1:], monkeypatch)
    elif words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(words[1:]) <= {*targets, *(word for word in words if "=" in word)}, words
    elif words[0] == "sbatch" or words[:2] == ["bash", "cluster/hosts.sh"]:
        given = words[words.index("cluster/slurm.sh") + 1 :] if words[0] == "sbatch" else words[4:]
        if words[0] == "sbatch" or words[2] == "run":
            read(["pat-sweep", *given], monkeypatch)
    elif words[0] == "python":
        assert words[1].endswith(".py") or words[2] in SILENT, words
    else:
        assert words[0] in FOREIGN, words


def _main(name: str) -> Main:
    module, _, function = OURS[name].partition(":")
    found: Main = getattr(import_module(module), function)
    return found


class _Parsed(BaseException):
    """A command line was understood."""


@contextmanager
def _only_parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[argparse.Namespace]]:
    """A command that is called within ends as soon as its parser has read what it was given: the list then has it."""
    parsed: list[argparse.Namespace] = []
    parse = argparse.ArgumentParser.parse_args

    def parse_args(parser: argparse.ArgumentParser, *given: Any) -> argparse.Namespace:
        parsed.append(parse(parser, *given))
        raise _Parsed

    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        try:
            yield parsed
        except _Parsed:
            pass


def _read_ray(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of Ray by its own parser; what follows a script, or stands in a string for another machine, by ours."""
    from ray.scripts.scripts import cli

    known: click.Command = cli
    given = list(words)
    while isinstance(known, click.Group):
        name = given.pop(0)
        assert name in known.commands, f"ray {' '.join(words)}"
        known = known.commands[name]
    with known.make_context("ray", [*given], resilient_parsing=False) as context:
        values = context.params
    script = values.get("script")
    if script == "sweeps/hetero_grid.py":
        read(["pat-sweep", *values["script_args"]], monkeypatch)
    for text in [values.get("cmd") or "", " ".join(values.get("entrypoint") or ())]:
        for others in commands(text):
            if ours(others):
                read(others, monkeypatch)

"""What is published beside the code agrees with it: citation, image, distribution, licence."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

import pat

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == pat.__version__ and citation["license"] == PROJECT["project"]["license"]
    assert all(isinstance(author, dict) for author in citation["authors"]) and citation["cff-version"] == "1.2.0"


def test_the_image_gets_what_it_copies() -> None:
    """Every package of the distribution, and what its build reads; nothing that `.dockerignore` keeps away."""
    lines = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    copied = {name for line in lines for name in line.split()}
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    packages = {name for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"] if "." not in name}
    assert (
        copied == sent
        and packages <= copied
        and {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= copied
    )
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_starts_a_script_of_the_distribution() -> None:
    (command,) = re.findall(r'^ENTRYPOINT \["(.+)"\]$', (ROOT / "Dockerfile").read_text(), re.M)
    assert command in PROJECT["project"]["scripts"]


def test_every_pin_is_one_version() -> None:
    """`constraints.txt` pins what the extras and the developers' group ask for, in order."""
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert pins == sorted(set(pins)) and all(re.fullmatch(r"[a-z0-9._-]+==\S+", pin) for pin in pins)
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    asked += [name for extra in PROJECT["project"]["optional-dependencies"].values() for name in extra]
    names = {re.match(r"[\w-]+", requirement)[0].lower() for requirement in asked}  # type: ignore[index]
    assert names <= {pin.partition("==")[0] for pin in pins}

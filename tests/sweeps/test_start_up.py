"""What a command imports before it says something: help, a wrong flag and what only looks wait for nothing large."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pat
from sweeps.version import ROOT

LARGE = {"torch", "timm", "scipy", "matplotlib", "optuna", "ray"}
SCRIPT = "sweeps/hetero_grid.py"


def imported(*arguments: str) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """The packages that a command imports, and how it ended."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}, done


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("-c", "import pat"), 0, ""),
        (("-c", "import pat.config"), 0, ""),
        (("-m", "pat", "--help"), 0, "usage"),
        (("-m", "sweeps", "--help"), 0, "usage"),
        (("-m", "sweeps", "stop", "--help"), 0, "usage"),
        (("-m", "sweeps", "stop", "nowhere"), 2, "no driver works"),
        (("-m", "sweeps", "status", "--help"), 0, "usage"),
        (("-m", "sweeps", "status", "nowhere"), 2, "nowhere"),
        ((SCRIPT, "--help"), 0, "cifar100-small"),
        ((SCRIPT, "--nonsense"), 2, "--nonsense"),
        ((SCRIPT, "--max-hours", "0"), 2, "--max-hours 0: a positive number"),
        ((SCRIPT, "--preset", "digitz"), 2, "digits"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_nothing_large_is_imported(arguments: tuple[str, ...], code: int, words: str) -> None:
    packages, done = imported(*arguments)
    assert done.returncode == code and words in done.stdout + done.stderr
    assert "site" in packages and not packages & LARGE
    assert {"status", "stop"} & set(arguments) or "pandas" not in packages, "what looks at no table needs none"


def test_the_stages_of_a_model_need_no_compiler() -> None:
    """torchvision and timm would import it, in more time than all the rest takes."""
    command = [sys.executable, "-X", "importtime", "-m", "pat", "taps", "resnet18"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "layer4" in done.stdout
    assert "torch._library" in done.stderr and not {"torch._dynamo", "torch._inductor"} & set(
        line.rpartition("|")[2].strip() for line in done.stderr.splitlines()
    )


def test_what_takes_long_says_that_it_starts_before() -> None:
    """And what draws a report is not imported to plan one."""
    packages, done = imported(SCRIPT, "--methods", "nothing")
    lines = [line.strip() for line in done.stderr.splitlines()]
    told = [line for line in lines if line and not line.startswith(("import time:", "importing torch"))]
    assert done.returncode == 2 and len(told) == 2 and "nothing" in told[1]
    assert lines.index("starting") < next(place for place, line in enumerate(lines) if line.endswith(" torch"))
    assert "torch" in packages and not packages & {"matplotlib", "ray"}


def test_a_configuration_finds_its_methods_and_tasks() -> None:
    """They are declared by modules that nobody has imported yet."""
    script = "from pat.config import Method, Task; print(Method('kd').options['weight'], len(Task().options))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "1.0 0\n", done.stderr


def test_all_of_the_library_is_there() -> None:
    assert all(callable(getattr(pat, name)) for name in pat.__all__) and set(pat.__all__) <= set(dir(pat))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        pat.nonsense  # noqa: B018

"""Runs whose steps torch.compile has made: traced alone they end in the same bits; with its own kernels near them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pat.compiled import compile_steps
from pat.config import RunConfig
from pat.io import LocalIO
from pat.train import Member, Outcome, train_together
from sweeps.planning.together import common
from tests import tiny
from tests.pat.test_captured import same

RUNS = {"kd": tiny.BATCHNORM, "rld": tiny.VIT}
"""The second counts epochs."""


@pytest.fixture(autouse=True)
def _compiler() -> Iterator[None]:
    limits = {name: getattr(torch._dynamo.config, name) for name in ("recompile_limit", "accumulated_recompile_limit")}
    yield
    torch.compiler.reset()
    for name, limit in limits.items():
        setattr(torch._dynamo.config, name, limit)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """torch.compile without its kernels; what was compiled."""
    compiled: list[nn.Module] = []
    real = nn.Module.compile

    def compile(module: nn.Module) -> None:
        compiled.append(module)
        real(module, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile)
    return compiled


def config(method: str, compiled: bool = True, **recipe: Any) -> RunConfig:
    return tiny.config(RUNS[method], method, recipe={"compiled": compiled, **recipe})


@pytest.mark.parametrize("name", [pytest.param("kd", marks=pytest.mark.slow), "rld"])
def test_a_compiled_run_is_traced_and_goes_on_where_it_was(
    name: str, tmp_path: Path, teacher_file: Path, traced: list[nn.Module]
) -> None:
    plain = tiny.run(config(name, compiled=False), tmp_path / "plain", teacher_file)
    assert not traced
    whole = tiny.run(config(name), tmp_path / "whole", teacher_file)
    same(plain, whole)
    tiny.run(config(name), tmp_path / "parts", teacher_file, until=1)
    same(whole, tiny.run(config(name), tmp_path / "parts", teacher_file))
    assert len(traced) == 3


@pytest.mark.slow
def test_it_becomes_among_others_what_it_becomes_alone(
    tmp_path: Path, teacher_file: Path, traced: list[nn.Module]
) -> None:
    both = [config("kd"), config("kd", compiled=False)]
    members = [Member(one, LocalIO(tmp_path / one.run_id), teacher_file=teacher_file) for one in both]
    for place, outcome in train_together(members):
        assert isinstance(outcome, Outcome)
        same(outcome, tiny.run(both[place], tmp_path / f"alone {place}", teacher_file))
    assert len(traced) == 2


class Counting(nn.Module):
    """A step that depends on a number, as those of methods that count epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sin() if self.epoch % 2 else x.cos() + self.epoch


def test_no_run_and_no_epoch_is_silently_not_compiled(traced: list[nn.Module]) -> None:
    """Torch makes eight versions of a function, for all that call it, and then no more."""
    seen, x = [], torch.ones(3)
    for _ in range(10):
        compile_steps(module := Counting())
        for epoch in range(12):
            module.epoch = epoch
            before = torch._dynamo.utils.counters["frames"]["ok"]
            module(x)
            seen.append(torch._dynamo.utils.counters["frames"]["ok"] - before)
    assert set(seen) == {1} and len(traced) == 10


def test_it_is_another_run_that_shares_nothing() -> None:
    plain, compiled = config("kd", compiled=False), config("kd")
    assert plain.run_id != compiled.run_id and "compiled" not in plain.to_json()
    assert plain.recipe.shown == compiled.recipe.shown
    other = config("kd", lr=1e-3)
    assert common(plain) == common(tiny.config(RUNS["kd"], "kd", recipe={"lr": 1e-3})) and common(compiled) != common(
        other
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_its_kernels_round_otherwise_and_repeat_themselves(tmp_path: Path, teacher_file: Path) -> None:
    plain = tiny.run(config("kd", compiled=False), tmp_path / "plain", teacher_file)
    whole = tiny.run(config("kd"), tmp_path / "whole", teacher_file)
    tiny.run(config("kd"), tmp_path / "parts", teacher_file, until=1)
    same(whole, tiny.run(config("kd"), tmp_path / "parts", teacher_file))
    assert whole.student_sha256 != plain.student_sha256
    for one, other in zip(whole.history, plain.history, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)

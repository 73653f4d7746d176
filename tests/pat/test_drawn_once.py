"""What a run begins with is a function of its configuration and seed, whatever its process has made before."""

from __future__ import annotations

import functools
import gc

import pytest
import torch

from pat.config import RunConfig
from pat.methods import create_method
from pat.tasks import create_task
from tests.golden.runs import configurations

KINDS = ("cnn fp32", "detection fp32", "segmentation fp32", "generation fp32")
CONFIGURATIONS = {name: config for name, config in configurations() if name.endswith(KINDS)}
"""Every method of classification and of the tasks of whole images, once."""


def forget() -> None:
    """Everything that `pat` has worked out and keeps in this process."""
    for kept in gc.get_objects():
        if type(kept) is functools._lru_cache_wrapper and str(kept.__module__).startswith("pat."):
            kept.cache_clear()


def begin(config: RunConfig) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The first state of a run's method, and that of torch's generator behind it."""
    torch.manual_seed(5)
    task = create_task(config.task, config.data, 10, labels=torch.arange(320) % 10)
    student = task.student(config.student, config.seed, config.initial)
    teacher = task.student(config.teacher.name, seed=7) if config.teacher else None
    method = create_method(config.method.name, student, teacher, task, config.seed, **config.method.options)
    return dict(method.state_dict()), torch.get_rng_state()


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_first_of_its_process_begins_as_a_later_one(name: str) -> None:
    forget()
    (first, left), (later, left_then) = begin(CONFIGURATIONS[name]), begin(CONFIGURATIONS[name])
    assert first.keys() == later.keys()
    assert not [key for key, value in first.items() if not torch.equal(value, later[key])]
    assert torch.equal(left, left_then), "what is drawn next would be another"

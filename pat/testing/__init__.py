"""The contracts of methods and of tasks as checks, for those that live elsewhere, too:

    import mine  # registers the method, or the task
    import pytest
    from pat import testing

    @pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
    @pytest.mark.parametrize(("student", "teacher"), testing.PAIRS)
    def test_contract(check, student, teacher):
        check(testing.Case("mine", student, teacher, {"weight": 2.0}))

    @pytest.mark.parametrize("check", testing.TASK_CHECKS, ids=lambda check: check.__name__)
    def test_contract_of_a_task(check):
        check(testing.TaskCase(Task("mine"), Data("digits", 32)))

A check raises AssertionError where the contract is broken. Small models, on the CPU.
"""

from pat.testing.methods import BATCHNORM, CHECKS, CLASSES, CNN, IMAGES, MLP, PAIRS, SIZE, VIT, Case, batch
from pat.testing.tasks import TASK_CHECKS, TaskCase

__all__ = [
    "BATCHNORM",
    "CHECKS",
    "CLASSES",
    "CNN",
    "IMAGES",
    "MLP",
    "PAIRS",
    "SIZE",
    "TASK_CHECKS",
    "VIT",
    "Case",
    "TaskCase",
    "batch",
]

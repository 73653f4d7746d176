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

from pat.testing.methods import (
    BATCHNORM,
    CHECKS,
    CLASSES,
    CNN,
    IMAGES,
    MLP,
    PAIRS,
    SIZE,
    VIT,
    Case,
    batch,
    can_be_copied,
    couples_as_it_says,
    learns,
    leaves_no_trace_in_eval,
    options_are_plain,
    takes_classes,
)
from pat.testing.tasks import (
    TASK_CHECKS,
    TaskCase,
    a_batch_is_learnt_from,
    a_teacher_judges_the_same_samples,
    bad_input_is_refused,
    scores_change_nothing,
    shapes_are_known_before,
    students_come_of_their_seed,
    views_come_of_their_place,
)

__all__ = [
    "BATCHNORM",
    "CHECKS",
    "CLASSES",
    "CNN",
    "Case",
    "IMAGES",
    "MLP",
    "PAIRS",
    "SIZE",
    "TASK_CHECKS",
    "TaskCase",
    "VIT",
    "a_batch_is_learnt_from",
    "a_teacher_judges_the_same_samples",
    "bad_input_is_refused",
    "batch",
    "can_be_copied",
    "couples_as_it_says",
    "learns",
    "leaves_no_trace_in_eval",
    "options_are_plain",
    "scores_change_nothing",
    "shapes_are_known_before",
    "students_come_of_their_seed",
    "takes_classes",
    "views_come_of_their_place",
]

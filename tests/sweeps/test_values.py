"""Every field of a study, of its search and of its other parts: a value is refused in one line, or it can be used."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from small import CNN_TEACHER, MLP_STUDENT, RECIPE, small_study

from pat.config import ConfigError, Part
from sweeps.planning.planner import Planner
from sweeps.pretraining import Pretraining
from sweeps.spaces import Log
from sweeps.study import Search, Study, TeacherFile
from tests.pat.test_values import BAD, one_line

HEX = "0" * 64
OWN: dict[str, list[Any]] = {
    "name": ["a b", "../x", "a/b", "x" * 300, "ä"],
    "teachers": [{}, {CNN_TEACHER: 1}, {"tv_resnet34": RECIPE}, {f"{CNN_TEACHER}.untrained": RECIPE}, {"x.": RECIPE}],
    "students": [{}, {MLP_STUDENT: None}, {"no_such_model": RECIPE, MLP_STUDENT: RECIPE}],
    "pairs": [
        [],
        [(CNN_TEACHER, MLP_STUDENT)] * 2,
        [(CNN_TEACHER,)],
        "ab",
        [("", "")],
        [(CNN_TEACHER, MLP_STUDENT, 1)],
    ],
    "methods": ["kd", ("kd", "kd"), ("no_such",), (), ("scratch",), (1,)],
    "initial": [{CNN_TEACHER: "timm:"}, {CNN_TEACHER: "x"}, {":": "run:0"}, {CNN_TEACHER: 3}],
    "options": [{"kd": {"temperature": 0}}, {"kd": {"temprature": 1}}, {"no_such": {}}, {"pat": {}}, {"kd": 3}],
    "choices": [{"kd": {"temperature": ()}}, {"kd": {"temperature": (1, 1)}}, {"kd": {"temperature": 1}}, {"x": {}}],
    "corrections": [{"x": {}}, {f":{MLP_STUDENT}": {"kd": {"x": 1}}}, {f":{MLP_STUDENT}": {"no_such": {}}}],
    "anchors": [((CNN_TEACHER, MLP_STUDENT),) * 2],
    "workers": [{"kd": 0}, {"kd": 3}, {"no_such": 2}, 3],
    "teacher_sizes": [{CNN_TEACHER: 0}, {CNN_TEACHER: -3}, {CNN_TEACHER: 1.5}, {CNN_TEACHER: 10**9}],
    "spaces": [
        {"kd": {"temperature": ()}},
        {"kd": {"x": (1, 2)}},
        {"kd": {"temperature": 3}},
        {"no_such": {"x": (1,)}},
    ],
    "rungs": [(0.5, 0.5, 1), (1, 0.5), (0.5, 2), (1.0,)],
    "trials": [4, 8, 5],
    "sampler": ["tpe", "sobol", "grid"],
    "path": ["timm:resnet18.a1_in1k", "ftp://x", "~/x", "x" * 5000],
    "sha256": ["0" * 63, "G" * 64, HEX.upper()],
}
"""What a person might write there, beside BAD."""
PARTS: list[Part] = [
    small_study(),
    Search(),
    TeacherFile("a.pth", HEX),
    Log(1.0, 2.0),
    Pretraining(small_study().data, RECIPE),
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
def test_every_field_is_refused_or_kept(part: Part) -> None:
    refused = total = 0
    for field in dataclasses.fields(part):  # type: ignore[arg-type]
        for value in [*BAD, *OWN.get(field.name, [])]:
            total += 1
            try:
                made = dataclasses.replace(part, **{field.name: value})  # type: ignore[type-var]
            except ConfigError as error:
                refused += 1
                one_line(error, "")
                continue
            written = json.loads(json.dumps(made.to_dict(), allow_nan=False))
            assert json.loads(json.dumps(type(part).from_dict(written).to_dict())) == written, (field.name, value)
            if isinstance(made, Study):
                assert Planner(made, {}).counts()
    assert refused > total / 2


@pytest.mark.parametrize("field", ["options", "choices", "corrections", "workers", "spaces"])
def test_a_method_that_the_study_does_not_know_is_named(field: str) -> None:
    wrong: dict[str, Any] = {"workers": {"kdd": 2}, "corrections": {f":{MLP_STUDENT}": {"kdd": {}}}}
    with pytest.raises(ConfigError, match="unknown method 'kdd'.*; did you mean kd"):
        small_study(**{field: wrong.get(field, {"kdd": {"temperature": (1.0,)}})})

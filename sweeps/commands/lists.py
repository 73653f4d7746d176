"""What there is to choose from, as text: studies, methods, data sets, models, tasks."""

from __future__ import annotations

import json

from pat.config import Data
from pat.data import list_datasets, truths_of
from pat.methods import list_methods, method_options
from pat.resolve import list_models
from pat.tasks import list_tasks
from sweeps.presets import ON_CPU, PRESETS
from sweeps.study import Study


def listed(what: str) -> str:
    """One a line, with what tells them apart."""
    if what == "presets":
        return _table([(name, "finishes without a GPU" if name in ON_CPU else "needs a GPU") for name in PRESETS])
    if what == "methods":
        return _table([(name, _options(name)) for name in list_methods()])
    if what == "data":
        named = [name for name in list_datasets() if ":" not in name]
        own = [("FOLDER", "labels, boxes or masks, by what it holds")]
        return _table([(name, truths_of(Data(name, 32))) for name in named] + own)
    return "\n".join(list_models() if what == "models" else list_tasks())


def shown(study: Study) -> str:
    """A study as JSON: a line for each field, and for each model, method or option of those that have some."""
    fields = []
    for field, value in study.to_dict().items():
        inside = isinstance(value, dict) and any(isinstance(one, dict) for one in value.values())
        lines = [f"  {json.dumps(key)}: {json.dumps(one)}" for key, one in value.items()] if inside else []
        text = "{\n" + ",\n".join(lines) + "\n }" if lines else json.dumps(value)
        fields.append(f" {json.dumps(field)}: {text}")
    return "{\n" + ",\n".join(fields) + "\n}"


def _options(method: str) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in method_options(method).items()) or "no options"


def _table(rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {about}" for name, about in rows)

"""What makes PAT gain: the paper's form, each remedy alone and several together, beside tuned baselines.

    python -m sweeps.presets.remedies digits --storage DIR              each form is a study, one after the other
    python -m sweeps.presets.remedies cifar100 --storage DIR --plan     what they cost; other flags are hetero_grid's

Every column has the same number of trials, pairs and seeds. At the end one report sets the forms side by side, each as
a method of its own. Given again, the command goes on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from analysis import ledger, storage
from analysis.report import write_report
from sweeps.commands import grid
from sweeps.guard import Parser, guarded
from sweeps.presets import PRESETS
from sweeps.presets.classification import TINY_STUDENTS, TINY_TEACHERS, cifar100_small_methods, digits
from sweeps.store import study_folder
from sweeps.study import SCRATCH, Search, Study

OTHERS = "others"
BASELINES = ("kd", "fitnet", "dist", "rsd")
FIXED = {"prompt_depth": 4, "regions": 16, "temperature": 1.0, "regularisation_weight": 1.0}
"""Not searched: a form's trials go to the weights of logits and features."""
DATA = {"digits": digits, "cifar100": cifar100_small_methods}
WARMUP = {"digits": 60, "cifar100": 350}
"""Steps: a third of a run on digits, a quarter on CIFAR-100."""
TOGETHER = ("balanced", "regions", "drift", "warmup")


def forms(data: str) -> dict[str, dict[str, Any]]:
    """The options of each form of PAT that are not the paper's; what answers the first question runs first."""
    alone: dict[str, dict[str, Any]] = {
        "paper": {},
        "variance": {"feature_norm": "variance"},
        "regions": {"feature_size": "regions"},
        "stages": {"feature_stages": 2},
        "drift": {"drift_weight": 1.0},
        "restandardised": {"restandardise": True},
        "warmup": {"feature_warmup": WARMUP[data]},
        "aligner": {"aligner": "published"},
        "balanced": {"variant": "balanced"},
        "relational": {"variant": "relational"},
        "hinted": {"variant": "hinted"},
    }
    together = {key: value for name in TOGETHER for key, value in alone[name].items()}
    first = ("paper", "balanced", "relational", "hinted")
    return {**{name: alone[name] for name in first}, "together": together, **alone}


def study(data: str, form: str) -> Study:
    """The study of a form, or that of the baselines: three pairs that cross families, three seeds."""
    made = DATA[data]()
    convnext, vit, _ = TINY_TEACHERS
    resnet, small_vit, mixer = TINY_STUDENTS
    own = {} if form == OTHERS else {"pat": {**made.options["pat"], **FIXED, **forms(data)[form]}}
    return replace(
        made,
        name=f"remedies-{data}-{form}",
        pairs=((vit, resnet), (convnext, small_vit), (vit, mixer)),
        methods=BASELINES if form == OTHERS else ("pat",),
        search=Search(trials=4, wave=4, eta=2, rungs=(1 / 2, 1.0)),
        seeds=3,
        options=own,
        choices={},
    )


def combine(place: Path, data: str) -> Path:
    """One ledger of all forms in the folder `place`, in which each is a method of its own; what has not begun is left
    out."""
    into = place / f"remedies-{data}"
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    options: dict[str, Mapping[str, Any]] = {}
    for form in (OTHERS, *forms(data)):
        asked = study(data, form)
        source = study_folder(place, asked)
        options |= {_column(name, form): found for name, found in asked.options.items()}
        for run_id in ledger.list_runs(source):
            ledger.write_epochs(into, run_id, ledger.read_run_epochs(source, run_id))
            run = ledger.read_run(source, run_id) or {}
            ledger.write_run(into, {**run, "study": into.name, "method": _column(run["method"], form)})
        for row in ledger.read_matrix_rows(source):
            named = {**row, "study": into.name, "method": _column(row["method"], form)}
            rows.setdefault(tuple(named[key] for key in ("teacher", "student", "method", "setting", "seed")), named)
    ledger.write_matrix(into, sorted(rows.values(), key=lambda row: row["setting"] != SCRATCH))
    definition = {**study(data, OTHERS).to_dict(), "name": into.name, "options": options}
    definition["methods"] = [*BASELINES, *(_column("pat", form) for form in forms(data))]
    storage.write_file(into, "study.json", json.dumps(definition, indent=1).encode())
    return into


def main(argv: Sequence[str] | None = None) -> int:
    """Run every form and report; returns the worst exit code of `hetero_grid.py`."""
    return guarded(lambda: _run(argv), verbose=False)


def _run(argv: Sequence[str] | None) -> int:
    flags = Parser(prog="python -m sweeps.presets.remedies", allow_abbrev=False)
    flags.add_argument("data", choices=[*DATA])
    flags.add_argument("--storage", default="runs", help="folder that holds a folder for each form (default runs)")
    known, others = flags.parse_known_args(argv)
    names = {f"remedies-{known.data}-{form}": form for form in (OTHERS, *forms(known.data))}
    PRESETS.update({name: partial(study, known.data, form) for name, form in names.items()})
    worst = 0
    for name in names:
        code = grid.main(["--preset", name, "--storage", known.storage, *others])
        worst = max(worst, code)
        if code > 1:
            return code
    if "--plan" not in others:
        print(write_report(combine(Path(known.storage).expanduser().absolute(), known.data)))
    return worst


def _column(method: str, form: str) -> str:
    return f"{method}-{form}" if method == "pat" else method


if __name__ == "__main__":
    sys.exit(main())

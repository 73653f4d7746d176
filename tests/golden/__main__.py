"""`python -m tests.golden`: record what new runs give, and all of them where NUMERICS was raised.

What was recorded for the present NUMERICS is never replaced: a run that gives other numbers is refused.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from pat.config import NUMERICS
from tests.golden.compare import ADVICE, differences
from tests.golden.runs import FILE, configurations, has_bf16, machine, trace, write_teachers

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


def main() -> int:
    torch.set_num_threads(1)
    stored: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {"numerics": 0, "runs": {}}
    if stored["numerics"] != NUMERICS:
        if f"umerics version {NUMERICS}" not in CHANGELOG.read_text():
            print(f"NUMERICS is {NUMERICS}: CHANGELOG.md has no line of numerics version {NUMERICS}")
            return 1
        stored = {"numerics": NUMERICS, "runs": {}}
    here, runs, moved = machine(), {}, list[str]()
    with tempfile.TemporaryDirectory() as place:
        teachers = write_teachers(Path(place))
        for name, config in configurations():
            known = stored["runs"].get(name)
            if config.recipe.precision == "bf16" and not has_bf16():
                runs |= {name: known} if known else {}
                continue
            found = trace(config, Path(place) / name, teachers)
            if known is not None:
                moved += differences(name, found, known, here)
                known["digests"].setdefault(here, found.digest)
            entry = {"run_id": config.run_id, "losses": found.losses, "history": found.history}
            runs[name] = known or {**entry, "digests": {here: found.digest}}
    if moved:
        print("\n".join([*moved, f"nothing is recorded: {ADVICE}"]))
        return 1
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in runs.items())
    FILE.write_text(f'{{"numerics": {NUMERICS}, "runs": {{\n{lines}\n}}}}\n')
    print(f"{len(runs)} runs of numerics {NUMERICS} for {here}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

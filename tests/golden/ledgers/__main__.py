"""`python -m tests.golden.ledgers [--decisions] [--tables]`: the ledger of the present schema and numerics if there is
none, and what of its decisions and of all tables is not recorded yet; with a flag, these are recorded anew."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from pat.config import NUMERICS
from tests.golden import ledgers
from tests.golden.study import write_ledger


def main() -> None:
    flags = argparse.ArgumentParser(prog="python -m tests.golden.ledgers", description=__doc__)
    flags.add_argument("--decisions", action="store_true", help="record the planner's decisions anew")
    flags.add_argument("--tables", action="store_true", help="record the report's numbers anew")
    anew = flags.parse_args()
    torch.set_num_threads(1)
    if ledgers.PRESENT not in ledgers.releases():
        write_ledger(ledgers.PLACE / f"{ledgers.PRESENT}.tar.xz")
        print(f"wrote {ledgers.PRESENT}")
    present = {str(NUMERICS): ledgers.PRESENT}
    every = {release: release for release in ledgers.releases()}
    _write(ledgers.DECISIONS, {} if anew.decisions else ledgers.read(ledgers.DECISIONS), present)
    _write(ledgers.TABLES, {} if anew.tables else ledgers.read(ledgers.TABLES), every)


def _write(path: Path, known: Mapping[str, Any], wanted: Mapping[str, str]) -> None:
    """Keep what is known of the wanted names, and make the rest from the release of each."""
    make = ledgers.decisions if path == ledgers.DECISIONS else ledgers.tables
    found = {}
    for name, release in wanted.items():
        if name in known:
            found[name] = known[name]
            continue
        with tempfile.TemporaryDirectory() as place:
            found[name] = make(ledgers.unpack(release, Path(place)))
        print(f"recorded {path.stem} {name} from {release}")
    path.write_text("\n".join(_lines(found)) + "\n")


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    """JSON with a line for each step or row, so that a change shows in few lines."""
    text = json.dumps(found, default=str)
    return iter(text.replace("}, {", "},\n {").replace("[{", "[\n {").splitlines())


if __name__ == "__main__":
    main()

"""The studies in evidence/: `python -m tests.evidence` rebuilds their reports and compares the tables with those that
are committed; `python -m tests.evidence add DIR` packs a finished study's folder and commits its tables beside it.

evidence/<study>/ledger/    the packed record (`analysis.pack`), with the command and the machine in each run's row
                 summary.md, methods.md, cells.md, best.md, duels.md    of the report that it gives, rounded for people
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from analysis.pack import pack, unpack
from analysis.report import write_report, write_tables_only

ROOT = Path(__file__).parents[1]
EVIDENCE, BUILT = ROOT / "evidence", ROOT / "build" / "evidence"
MOST_BYTES = 5_000_000
KEPT = ("summary.md", *(f"tables/{name}.md" for name in ("methods", "cells", "best", "duels")))


def rebuild(study: Path, into: Path, figures: bool) -> list[str]:
    """Make the report of a packed study anew; gives the committed files that it differs from."""
    shutil.rmtree(into, ignore_errors=True)
    unpack(study / "ledger", into)
    (write_report if figures else write_tables_only)(into)
    return [
        str((study / name).relative_to(study.parent))
        for name in (Path(kept).name for kept in KEPT)
        if (study / name).read_bytes() != next(into.glob(f"report/**/{name}")).read_bytes()
    ]


def add(folder: Path, evidence: Path = EVIDENCE) -> Path:
    """Pack a study's folder and put its tables beside the pack. ValueError where the pack is too large."""
    study = evidence / folder.resolve().name
    shutil.rmtree(study, ignore_errors=True)
    pack(folder, study / "ledger")
    size = sum(path.stat().st_size for path in (study / "ledger").rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise ValueError(f"{study}: {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}")
    with tempfile.TemporaryDirectory() as built:
        unpack(study / "ledger", built)
        write_tables_only(built)
        for kept in KEPT:
            shutil.copy(Path(built, "report", kept), study / Path(kept).name)
    return study


def main(arguments: list[str]) -> int:
    """0; 1 where a committed table is not what its ledger gives."""
    if arguments[:1] == ["add"]:
        print(add(Path(arguments[1])))
        return 0
    different = []
    for study in sorted(path for path in EVIDENCE.glob("*") if path.is_dir()):
        different += rebuild(study, BUILT / study.name, figures=True)
        print(f"{study.name}: report in {(BUILT / study.name / 'report').relative_to(ROOT)}/index.html")
    for name in different:
        print(f"evidence/{name} is not what its ledger gives", file=sys.stderr)
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

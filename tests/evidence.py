"""The studies in evidence/: `python -m tests.evidence` rebuilds their reports and compares the tables with those that
are committed; `python -m tests.evidence add DIR` packs a study's folder and puts its tables beside it; `python -m
tests.evidence restore NAME DIR` makes the study's folder of it again, from which the command of the study goes on.

evidence/<study>/ledger/    the packed record (`analysis.pack`), with the command and the machine in each run's row
                 teachers/  the weights of its small teachers by run, without which it could not go on
                 summary.md, methods.md, cells.md, best.md, duels.md    of the report that it gives, rounded for people
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from analysis import read_runs
from analysis.pack import pack, unpack
from analysis.report import write_report, write_tables_only
from pat.kept import STUDENT

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
    runs = read_runs(folder, columns=("run_id", "phase", "status"))
    (study / "teachers").mkdir()
    for run_id in runs.query("phase == 'teacher' and status == 'finished'")["run_id"]:
        if (weights := folder / "runs" / run_id / STUDENT).exists():
            shutil.copy(weights, study / "teachers" / f"{run_id}.safetensors")
    size = sum(path.stat().st_size for path in study.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise ValueError(f"{study}: {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}")
    with tempfile.TemporaryDirectory() as built:
        unpack(study / "ledger", built)
        write_tables_only(built)
        for kept in KEPT:
            shutil.copy(Path(built, "report", kept), study / Path(kept).name)
    return study


def restore(study: Path, folder: Path) -> Path:
    """The folder of a study that was added. ValueError where there is something in its place."""
    if folder.exists():
        raise ValueError(f"{folder}: there is something here already")
    unpack(study / "ledger", folder)
    for weights in (study / "teachers").iterdir():
        shutil.copy(weights, folder / "runs" / weights.stem / STUDENT)
    return folder


def main(arguments: list[str]) -> int:
    """0; 1 where a committed table is not what its ledger gives."""
    if arguments[:1] == ["add"]:
        print(add(Path(arguments[1])))
        return 0
    if arguments[:1] == ["restore"]:
        print(restore(EVIDENCE / arguments[1], Path(arguments[2], arguments[1])))
        return 0
    different, studies = [], sorted(path for path in EVIDENCE.glob("*") if path.is_dir())
    if not studies:
        print("no study lies in evidence/ yet: nothing was compared")
    for study in studies:
        different += rebuild(study, BUILT / study.name, figures=True)
        print(f"{study.name}: report in {(BUILT / study.name / 'report').relative_to(ROOT)}/index.html")
    for name in different:
        print(f"evidence/{name} is not what its ledger gives", file=sys.stderr)
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

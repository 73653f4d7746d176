"""`make gpu-check`: what a GPU does with this package, for any owner of one: correctness, then images a second of runs
alone, compiled and in groups, each beside its floor. Under eight minutes, no network, no Ray.

    python -m tests.gpu [--json FILE]        exit status: 0, 1 where a test failed, 2 where there is no GPU
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.gpu.figures import PAIRS, Row, measure, table

CORRECTNESS = Path(__file__).parents[1] / "pat" / "test_gpu.py"
SECONDS = 330.0
"""For the figures; what there is no time for is left out, and said."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description="What a GPU does with this package.")
    parser.add_argument("--json", type=Path, default=Path("gpu-check.json"), metavar="FILE", help="[gpu-check.json]")
    flags = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print("no GPU: torch sees none on this machine, and there is nothing to check without one", file=sys.stderr)
        return 2
    device = torch.device("cuda")
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}", flush=True)
    failed = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", str(CORRECTNESS)]).returncode
    rows, left_out = measure(PAIRS, device, SECONDS, lambda line: print(line, flush=True))
    print(table(rows))
    for what in left_out:
        print(f"not measured, for want of time: {what}")
    write(flags.json, torch.cuda.get_device_name(device), rows, not failed)
    return 1 if failed else 0


def write(file: Path, device: str, rows: Sequence[Row], correct: bool) -> None:
    """All figures as JSON."""
    values = {"device": device, "torch": torch.__version__, "correct": correct, "rows": [row._asdict() for row in rows]}
    file.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

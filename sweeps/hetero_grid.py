"""The entry script: the heterogeneous matrix of a preset. `ray submit CLUSTER.yaml sweeps/hetero_grid.py` copies this
one file, so it holds nothing but the way to the installed package.

    python sweeps/hetero_grid.py --preset digits        minutes on two cores
    python sweeps/hetero_grid.py --preset digits --plan what it would do
    python sweeps/hetero_grid.py                        CIFAR-100 at 224 px, the papers' pairs, on GPUs
"""

import sys
from pathlib import Path


def run() -> int:
    """Find the packages next to this file, or installed, and hand over to them; returns the exit code."""
    here = Path(__file__).resolve().parent
    if (here / "presets.py").exists():
        sys.path[0] = str(here.parent)  # the script's own folder would offer `sweeps/study.py` as `study`
    try:
        from sweeps.cli import main
    except ModuleNotFoundError as error:
        print(f"error: {error}; install the project in this Python ({sys.executable}) first", file=sys.stderr)
        return 2
    return main()


if __name__ == "__main__":
    sys.exit(run())

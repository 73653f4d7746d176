"""Which code runs: a digest of the three packages, and the stamp by which a submitted script knows its own.

`ray submit` copies one script. Its stamp is the digest of the packages it was committed with, so that a cluster whose
copy is of other code is noticed. `python -m sweeps.version` renews the stamp; `--check` only looks.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("analysis", "pat", "sweeps")
SCRIPT = "sweeps/hetero_grid.py"
_STAMP = re.compile(r'^CODE = "([0-9a-f]*)"$', re.MULTILINE)


@lru_cache(maxsize=1)
def digest(root: Path | None = None) -> str:
    """Twelve hexadecimal digits over the names and bytes of all files of the packages, but the stamped script.

    The packages are those below `root`, else those that this process imports: shipped ones lie in a folder each.
    """
    found = hashlib.sha256()
    for package in PACKAGES:
        place = _imported(package) if root is None else root / package
        for path in sorted(place.rglob("*")):
            name = f"{package}/{path.relative_to(place).as_posix()}"
            if path.is_file() and "__pycache__" not in path.parts and name != SCRIPT:
                found.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:12]


def _imported(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {package!r}")
    return Path(spec.submodule_search_locations[0])


def stamp(script: str) -> str:
    """The stamp in a script's text; empty where it has none."""
    found = _STAMP.search(script)
    return found[1] if found else ""


def main(argv: Sequence[str]) -> int:
    """Renew the stamp, or with `--check` say whether it is right; exit code 1 if it is not."""
    path = ROOT / SCRIPT
    text, own = path.read_text(), digest()
    if stamp(text) == own:
        return 0
    if "--check" in argv:
        print(f"{SCRIPT} has the stamp {stamp(text)}, the code is {own}: python -m sweeps.version", file=sys.stderr)
        return 1
    path.write_text(_STAMP.sub(f'CODE = "{own}"', text))
    print(f"{SCRIPT}: {own}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

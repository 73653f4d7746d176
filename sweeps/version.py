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
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("analysis", "pat", "sweeps")
SCRIPT = "sweeps/hetero_grid.py"
_STAMP = re.compile(r'^CODE = "([0-9a-f]*)"$', re.MULTILINE)


@lru_cache(maxsize=1)
def digest(root: Path = ROOT) -> str:
    """Twelve hexadecimal digits over the names and bytes of all files of the packages, but the stamped script."""
    found = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_file() and "__pycache__" not in path.parts and name != SCRIPT:
                found.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:12]


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

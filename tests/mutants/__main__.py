"""Puts each fault into a copy of the tree, runs the tests that answer for its file, and lists those nobody noticed."""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, NoReturn

from tests.mutants.answers import answering
from tests.mutants.mutant import Mutant
from tests.mutants.rooms import ROOMS

ROOT = Path(__file__).parents[2]
LIMIT, CHECK_LIMIT = 120.0, 1800.0
"""Seconds for the tests of one mutant, after which it counts as noticed, and for all of them on the tree as it is."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",  # else a mutant that is as long as what it replaces may be taken for it
}


class Ran(NamedTuple):
    """How pytest ended (None: it was stopped at its limit), and what it wrote."""

    code: int | None
    output: str


def refuse(reason: str) -> NoReturn:
    print(f"error: {reason}", file=sys.stderr)
    raise SystemExit(2)


def copy_tree(target: Path) -> Path:
    """What git would keep of the tree, in a new folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def run(tree: Path, arguments: Sequence[str], limit: float) -> Ran:
    """Python in the copy `tree`, whose packages come before the installed ones; ended with all that it started."""
    command = [sys.executable, *arguments]
    environment = {**os.environ, **QUIET, "PYTHONPATH": str(tree)}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, cwd=tree, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        return Ran(code, output.read())


def run_tests(tree: Path, tests: Sequence[str], limit: float = LIMIT) -> Ran:
    """The fast ones of these tests, up to the first that fails.

    Those of `analysis` leave out the conftest of all tests, which imports torch."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow and not ray and not cluster"]
    if all(test.startswith("tests/analysis/") for test in tests):
        options.append("--confcutdir=tests/analysis")
    return run(tree, ["-m", "pytest", *options, "--hypothesis-seed=0", *tests], limit)


def refuse_bad_copy(tree: Path, mutants: Sequence[Mutant]) -> None:
    """Exits unless the copy's own modules are imported there, and its tests pass as it is."""
    found = run(
        tree, ["-c", "import analysis, pat, sweeps\nfor p in (analysis, pat, sweeps): print(p.__file__)"], LIMIT
    )
    if found.code != 0 or not all(line.startswith(str(tree)) for line in found.output.splitlines()):
        refuse(f"the copy's own packages are not those that are imported: {found.output.split()}")
    every = dict.fromkeys(test for mutant in mutants for test in answering(mutant.file))
    light = [test for test in every if test.startswith("tests/analysis/")]
    for tests in (light, [test for test in every if test not in light]):
        if tests and (ran := run_tests(tree, tests, CHECK_LIMIT)).code != 0:
            refuse(f"the tests do not pass on the tree as it is:\n{ran.output[-3000:]}")


def judge(mutant: Mutant, tree: Path) -> tuple[str, str]:
    """What became of a mutant in the copy `tree` - killed, SURVIVED or BROKEN - and by which test, or why."""
    path = tree / mutant.file
    source = path.read_text()
    if source.count(mutant.old) != 1:
        return "BROKEN", f"its text stands there {source.count(mutant.old)} times"
    try:
        path.write_text(source.replace(mutant.old, mutant.new))
        ran = run_tests(tree, answering(mutant.file))
    finally:
        path.write_text(source)
    if ran.code is None:
        return "killed", f"no end after {LIMIT:.0f} s"
    if ran.code == 0:
        return "SURVIVED", ", ".join(answering(mutant.file))
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", ran.output, re.MULTILINE)
    if ran.code == 1 and failed:
        return "killed", failed[1]
    return "BROKEN", f"pytest ended with {ran.code}: {(ran.output.strip().splitlines() or ['nothing'])[-1]}"


def chosen(parts: Sequence[str]) -> list[Mutant]:
    """The mutants of the rooms or file prefixes that are named; all where none is."""
    found = []
    for part in parts or ROOMS:
        own = ROOMS.get(part) or [m for room in ROOMS.values() for m in room if m.file.startswith(part)]
        if not own:
            refuse(f"no mutants of {part!r}: {', '.join(ROOMS)}, or the beginning of a file's name")
        found += own
    return list(dict.fromkeys(found))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(ROOMS)}, or the beginning of a file's name; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="so many at a time, each in a copy of its own (default 2)")
    parser.add_argument("--list", action="store_true", help="only say which there are")
    given = parser.parse_args(arguments)
    if given.jobs < 1:
        refuse(f"--jobs {given.jobs}: a positive number")
    mutants = chosen(given.parts)
    if given.list:
        print("\n".join(map(str, mutants)))
        return 0
    start, found = time.monotonic(), list[str]()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees = queue.SimpleQueue[Path]()
        for number in range(given.jobs):
            trees.put(copy_tree(Path(folder, str(number)).resolve()))
        tree = trees.get()
        refuse_bad_copy(tree, mutants)
        trees.put(tree)
        print(f"the tests pass as it is ({time.monotonic() - start:.0f} s); {len(mutants)} mutants", flush=True)

        def one(mutant: Mutant) -> None:
            began, tree = time.monotonic(), trees.get()
            verdict, why = judge(mutant, tree)
            trees.put(tree)
            print(f"{verdict:8} {mutant} | {why} ({time.monotonic() - began:.0f} s)", flush=True)
            found.append(f"{verdict} {mutant}")

        with ThreadPoolExecutor(given.jobs) as pool:
            try:
                list(pool.map(one, mutants))
            finally:
                pool.shutdown(cancel_futures=True)  # after Ctrl-C no other one is begun
    bad = [line for line in found if not line.startswith("killed")]
    print("\n".join([f"{len(bad)} of {len(found)} were not killed ({time.monotonic() - start:.0f} s)", *bad]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

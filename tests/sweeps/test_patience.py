"""A run that hangs ends itself."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from sweeps.engine.patience import AT_LEAST, TIMES, WHERE_UNKNOWN, patience
from sweeps.planning.speeds import Speeds
from sweeps.planning.units import Key
from sweeps.study import Cell

KEY, OTHER = Key("cell", Cell("t", "s", "kd")), Key("cell", Cell("t", "s", "pat"))


def test_how_long_an_epoch_may_take() -> None:
    assert patience(Speeds(), KEY) == WHERE_UNKNOWN
    assert patience(Speeds(counted={KEY: 1e4}), KEY) == TIMES * 1e4, "no one has timed it, but it is long"
    assert patience(Speeds(probed={KEY: 2.0}), KEY) == AT_LEAST
    speeds = Speeds(probed={KEY: 2.0})
    speeds.note(KEY, 6000.0, 10)
    assert patience(speeds, KEY) == TIMES * 600.0


@pytest.mark.parametrize(
    ("work", "code"),
    [
        ("time.sleep(60)", 1),
        ("[(time.sleep(0.1), dog.again()) for _ in range(12)]", 0),
        ("pass", 0),
    ],
    ids=["hangs", "gets on", "is quick"],
)
def test_a_process_without_a_new_epoch_ends(work: str, code: int) -> None:
    """Of the last, the time after the block does not count."""
    script = (
        "import time\nfrom sweeps.engine.patience import Watchdog\n"
        f"with Watchdog(1.0) as dog:\n    {work}\ntime.sleep(1.5 if {code == 0} else 0)"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=55)
    assert done.returncode == code and time.monotonic() - start < 50
    assert ("Timeout" in done.stderr and 'File "<string>", line 4' in done.stderr) == bool(code)


def test_without_a_limit_nothing_is_watched() -> None:
    script = "import time\nfrom sweeps.engine.patience import Watchdog\nwith Watchdog(0.0): time.sleep(0.2)"
    assert subprocess.run([sys.executable, "-c", script], timeout=55).returncode == 0

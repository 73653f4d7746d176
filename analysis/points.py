"""Named points at which a process can be made to die as `kill -9` ends it, for the tests that kill it there.

    PAT_FAIL_AT=NAME:N[:FILE][;NAME:N[:FILE]…]

The process that passes NAME for the N-th time dies. With FILE it dies only where there is no such file yet, and leaves
it: of all processes of a study, and of those that go on with it, one dies. Off where the variable is not set.
"""

from __future__ import annotations

import os
import signal

NAMES = (
    "checkpoint without epochs",
    "checkpoint between renames",
    "epochs without summary",
    "summary before tidying",
    "wave drawn",
    "segment handed out",
    "segment ended",
    "gather",
    "merge",
    "merge without the row",
    "half set aside",
)
"""What is passed by `reached`; and for each file of a study there is `write FILE`, before it gets its name."""
WRITE = "write "

_armed: dict[str, tuple[int, str]] = {}


def arm(text: str) -> None:
    """As if PAT_FAIL_AT had been `text`; empty: off. Raises ValueError for a point that does not exist."""
    _armed.clear()
    for part in text.split(";") if text else ():
        name, _, rest = part.partition(":")
        count, _, file = rest.partition(":")
        if not count.isdecimal() or not (name in NAMES or name.startswith(WRITE)):
            known = f"NAME one of {', '.join(NAMES)}, write FILE"
            raise ValueError(f"PAT_FAIL_AT = {part!r}: NAME:N or NAME:N:FILE, {known}")
        _armed[name] = int(count), file


def reached(name: str) -> None:
    """The process is at the point `name`."""
    if name not in _armed:
        return
    left, file = _armed[name]
    _armed[name] = left - 1, file
    if left == 1 and (not file or _first(file)):
        os.kill(os.getpid(), signal.SIGKILL)


def _first(file: str) -> bool:
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


arm(os.environ.get("PAT_FAIL_AT", ""))

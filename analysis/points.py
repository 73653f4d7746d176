"""Named points at which a process can be made to die as `kill -9` ends it, for the tests that kill it there.

    PAT_FAIL_AT=NAME:N[:FILE]

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
    "segment handed out",
    "segment ended",
    "gather",
    "merge",
    "merge without the row",
    "half set aside",
)
"""What is passed by `reached`; and for each file of a study there is `write FILE`, before it gets its name."""
WRITE = "write "

_at: tuple[str, int, str] = "", 0, ""


def arm(text: str) -> None:
    """As if PAT_FAIL_AT had been `text`; empty: off. Raises ValueError for a point that does not exist."""
    global _at
    name, _, rest = text.partition(":")
    count, _, file = rest.partition(":")
    if text and (not count.isdecimal() or not (name in NAMES or name.startswith(WRITE))):
        raise ValueError(f"PAT_FAIL_AT = {text!r}: NAME:N or NAME:N:FILE, NAME one of {', '.join(NAMES)}, write FILE")
    _at = name, int(count or 0), file


def reached(name: str) -> None:
    """The process is at the point `name`."""
    global _at
    if name != _at[0]:
        return
    _, left, file = _at
    _at = name, left - 1, file
    if left == 1 and (not file or _first(file)):
        os.kill(os.getpid(), signal.SIGKILL)


def _first(file: str) -> bool:
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


arm(os.environ.get("PAT_FAIL_AT", ""))

"""Room for Unix sockets: their paths have at most 107 bytes, and some folders for temporary files leave too few."""

from __future__ import annotations

import os
import sys
import tempfile

from pat.errors import ConfigError

LONGEST = 40
"""Bytes of a folder's path that leave room for the names of sockets below it: Ray's need 65, Python's own 32."""
_PLACES = ("/tmp", "/var/tmp", "/dev/shm")


def room_for_sockets() -> None:
    """Where TMPDIR leaves no room, temporary files of this process and its children go to a shorter folder.

    Says so in one line. Raises ConfigError naming TMPDIR where there is no such folder.
    """
    given = tempfile.gettempdir()
    if len(os.fsencode(given)) <= LONGEST:
        return
    place = next((place for place in _PLACES if os.access(place, os.W_OK | os.X_OK)), None)
    if place is None:
        allowed = f"a folder of at most {LONGEST} bytes is needed, for the paths of Unix sockets"
        raise ConfigError(f"TMPDIR = {given!r}: {allowed}, and none of {', '.join(_PLACES)} can be written")
    tempfile.tempdir = os.environ["TMPDIR"] = place
    print(f"TMPDIR {given!r} is too long for sockets: temporary files go to {place}", file=sys.stderr)

"""What a process is given and cannot use - a home that is not to be written, a proxy for itself - is borne.

Called by commands before they import what reads its folders and proxies once. Standard library only.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path

CACHES = {"XDG_CACHE_HOME": ".cache", "MPLCONFIGDIR": ".config"}
"""Where libraries keep what they fetch and find out (timm's weights, fonts), and the folder below home without it."""
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def bear_surroundings() -> None:
    """`caches_to_write`, and `no_proxy_for_itself`."""
    caches_to_write()
    no_proxy_for_itself()


def caches_to_write() -> None:
    """Where the home cannot be written caches go to a folder for temporary files, which is said in one line."""
    moved = []
    for name, below in CACHES.items():
        place = Path(os.environ.get(name) or Path(os.path.expanduser("~"), below))
        if not _writable(place):
            folder = Path(tempfile.gettempdir(), f"pat-sweeps-{os.getuid()}", below)
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.environ[name] = str(folder)
            moved.append(str(place))
    if moved:
        where = Path(tempfile.gettempdir(), f"pat-sweeps-{os.getuid()}")
        print(f"{' and '.join(moved)} cannot be written: what is fetched goes to {where}", file=sys.stderr)


def no_proxy_for_itself() -> None:
    """Where there is a proxy, this machine is reached without it: Ray's processes talk to each other on it."""
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES):
        return
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    names = [name for name in given.split(",") if name]
    if "*" in names:
        return
    own = ["localhost", "127.0.0.1", "::1", socket.gethostname()]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys((*names, *own)))


def _writable(place: Path) -> bool:
    """Whether files can be written in a folder, which may have to be made first."""
    there = next((folder for folder in (place, *place.parents) if folder.exists()), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK)

"""What a machine says of itself. It is sent to every machine by value: it uses nothing that might be missing there."""

from __future__ import annotations

import time
from typing import Any


class Machine:
    """A process on one machine, which does what it is asked."""

    def clock(self) -> float:
        return time.time()

    def call(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)


def facts(storage: str, token: str, places: dict[str, str], code_root: str) -> dict[str, Any]:
    """Versions, devices, disks, and whether this machine sees the file `token` in `storage`; a note of its own is left
    beside it. `places`: name -> folder whose disk is measured. Never raises: what fails is said in words.
    """
    import os
    import platform
    import shutil
    import socket
    import subprocess
    import sys
    from importlib import import_module, metadata
    from pathlib import Path

    def versions() -> dict[str, str]:
        found = {"python": ".".join(platform.python_version_tuple()[:2])}
        for name in ("torch", "torchvision"):  # imported, for a pair that does not fit fails there
            try:
                found[name] = str(import_module(name).__version__)
            except Exception as error:
                found[name] = f"cannot be imported: {(str(error).splitlines() or [''])[0]}"
        for name in ("timm", "ray", "optuna", "numpy", "pyarrow"):
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = "not installed"
        return found

    def devices() -> dict[str, Any]:
        try:
            import torch

            count = torch.cuda.device_count()
            nccl = ".".join(map(str, torch.cuda.nccl.version())) if count else ""
            asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
            said = subprocess.run(asked, capture_output=True, text=True, timeout=20) if count else None
            driver = sorted(set(said.stdout.split())) if said else []
            names = sorted({torch.cuda.get_device_name(index) for index in range(count)})
            return {"gpus": count, "names": names, "nccl": nccl, "driver": ", ".join(driver), "problem": ""}
        except Exception as error:
            return {"gpus": 0, "names": [], "nccl": "", "driver": "", "problem": (str(error).splitlines() or [""])[0]}

    def shared() -> str:
        place = Path(storage)
        if not place.is_dir():
            return "is not the one that the head sees"
        try:
            (place / f"{token}.{os.environ.get('RAY_NODE_ID', socket.gethostname())}").write_text(socket.gethostname())
        except OSError as error:
            return f"cannot be written: {error.strerror}"
        return "" if (place / token).is_file() else "is not the one that the head sees"

    def free(folder: str) -> int:
        path = Path(folder).expanduser().absolute()
        while not path.exists():
            path = path.parent
        return shutil.disk_usage(path).free

    def code() -> str:
        sys.path.append(code_root)  # where nothing was shipped; what was comes first
        try:
            return str(import_module("sweeps.version").digest())
        except Exception as error:
            return f"cannot be imported: {error}"

    try:
        loopback = socket.gethostbyname(socket.gethostname()).startswith("127.")
    except OSError:
        loopback = True
    return {
        "host": socket.gethostname(),
        "versions": versions(),
        "devices": devices(),
        "storage": shared(),
        "free": {name: free(folder) for name, folder in places.items()},
        "code": code(),
        "loopback": loopback and not any(os.environ.get(f"{kind}_SOCKET_IFNAME") for kind in ("GLOO", "NCCL")),
    }

"""`python -m sweeps pull SOURCE DIR`: the results of all studies of a cluster or a bucket, without checkpoints.

SOURCE is a cluster's definition (over ssh), a folder, or the URI of an Arrow filesystem. What is here already and has
not changed is not fetched again, and a running study may be pulled: files there are whole or absent.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pyarrow import fs

from analysis.schema import LedgerError
from analysis.storage import open_folder
from pat.config import ConfigError
from pat.io import CHECKPOINT
from sweeps.guard import Parser, guarded
from sweeps.places import SHARED
from sweeps.store import FILE

LEFT_OUT = ("_*", ".*", CHECKPOINT)


def main(argv: Sequence[str]) -> int:
    """The command; returns the exit code: 0 done, 2 with one line."""
    flags = Parser(prog="python -m sweeps pull", description=__doc__, allow_abbrev=False)
    flags.add_argument("source", metavar="SOURCE", help="CLUSTER.yaml, a storage folder, or its URI (s3://…, gs://…)")
    flags.add_argument("folder", metavar="DIR", help="where the studies' folders are to be")
    flags.add_argument("--storage", default=f"{SHARED}/runs", help=f"the cluster's storage folder [{SHARED}/runs]")
    flags.add_argument("--verbose", action="store_true", help="tracebacks, and what ssh says")
    return guarded(lambda: _pull(**vars(flags.parse_args(argv))), "--verbose" in argv)


def _pull(source: str, folder: str, storage: str, verbose: bool) -> int:
    target = Path(folder).expanduser().absolute()
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{str(target)!r} cannot be written: {error.strerror}") from error
    if source.endswith((".yaml", ".yml")):
        _from_cluster(Path(source), storage, target, verbose)
    else:
        _from_storage(source, target)
    studies = sorted(path.parent.name for path in target.glob(f"*/{FILE}"))
    if not studies:
        raise ConfigError(f"no study in {storage if source.endswith(('.yaml', '.yml')) else source!r}")
    print(f"{', '.join(studies)} in {target}; the report of one: python -m analysis report {target / studies[0]}")
    return 0


def _from_cluster(definition: Path, storage: str, target: Path, verbose: bool) -> None:
    """With rsync over ssh, as `ray rsync-down` does it."""
    config = _read(definition)
    from ray.autoscaler.sdk import configure_logging, rsync

    configure_logging(verbosity=0 if verbose else -1)
    config["rsync_exclude"], config["rsync_filter"] = list(LEFT_OUT), []
    try:
        rsync(config, source=f"{storage.rstrip('/')}/", target=f"{target}/", down=True)
    except Exception as error:  # Ray raises many kinds, with many lines
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{storage!r} of {str(definition)!r} cannot be fetched: {reason}") from error


def _read(definition: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(definition.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{str(definition)!r} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(config, dict) or "cluster_name" not in config:
        raise ConfigError(f"{str(definition)!r} is no cluster's definition: cluster_name is needed")
    return config


def _from_storage(source: str, target: Path) -> None:
    """File by file, newer or of another size; each appears whole."""
    try:
        filesystem, root = open_folder(source)
        found = filesystem.get_file_info(fs.FileSelector(root, recursive=True))
    except (LedgerError, OSError) as error:
        raise ConfigError(f"{source!r} cannot be read: {str(error).splitlines()[0]}") from error
    for info in found:
        name = os.path.relpath(info.path, root)
        wanted = not any(part[0] in "_." or part == CHECKPOINT for part in name.split("/"))
        if info.is_file and wanted and not _same(info, target / name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            partial = (target / name).with_name(f"_{uuid.uuid4().hex}")
            fs.copy_files(info.path, str(partial), filesystem, fs.LocalFileSystem())
            partial.replace(target / name)
            os.utime(target / name, ns=(info.mtime_ns, info.mtime_ns))


def _same(info: fs.FileInfo, path: Path) -> bool:
    return path.is_file() and path.stat().st_size == info.size and path.stat().st_mtime_ns == info.mtime_ns

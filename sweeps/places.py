"""Where a study keeps its results and finds its data, on one machine and on a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pat.config import ConfigError, Data
from sweeps.started import in_job

SHARED = Path("/mnt/pat")
"""What every machine of a cluster sees, by the definitions in cluster/: `runs` for results, `data` for data sets."""
STAGE, IN_PLACE = "~/pat-data", "none"


@dataclass(frozen=True)
class DataPlace:
    """Data sets lie below `root`; each machine copies them there first from `source`, unless that is empty."""

    root: Path
    source: str = ""

    def bring(self, data: Data) -> None:
        """Copy the set to this machine if that is to be done. Raises DataError."""
        if self.source:
            from sweeps.engine.staging import stage

            stage(data, self.source, self.root)

    def unstaged(self) -> Path:
        """A root whose files are there without being copied, as far as they are in a folder."""
        return self.root if "://" in self.source or not self.source else Path(self.source)


def storage_place(given: str | None, cluster: bool) -> str:
    """The storage folder: the one given, or the default. Raises ConfigError where that would not outlast a job."""
    if given is not None:
        if "://" in given:
            raise ConfigError(f"storage {given!r}: a folder that every machine of the cluster sees")
        return given
    if cluster and SHARED.is_dir():
        return str(SHARED / "runs")
    if in_job():
        raise ConfigError(
            f"--storage: a folder that every machine of the cluster sees is needed; {str(SHARED)!r} is not here"
        )
    return "runs"


def data_place(given: str | None, staged: str | None, cluster: bool) -> DataPlace:
    """Where data sets are: in place on one machine; on a cluster, or from a URI, copied to each machine first.

    `staged`: the machines' own folder for it, or "none" to read in place. Raises ConfigError for what cannot be.
    """
    if given is None:
        given = str(SHARED / "data") if cluster and SHARED.is_dir() else "data"
    remote = "://" in given
    source = given if remote else str(Path(given).expanduser().absolute())
    if remote and staged == IN_PLACE:
        raise ConfigError(f"--stage {IN_PLACE}: data sets in {given!r} must be copied; name a folder")
    if staged == IN_PLACE or not (remote or cluster or staged):
        return DataPlace(Path(source))
    return DataPlace(Path(staged or STAGE).expanduser().absolute(), source)

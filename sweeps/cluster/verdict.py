"""What is wrong with a cluster, from what its machines said; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sweeps.looking.words import size

FREE_BYTES = 2 << 30
CLOCK_SECONDS = 10.0


class Problem(NamedTuple):
    """One line of the table."""

    host: str
    what: str
    found: str
    needed: str


@dataclass(frozen=True)
class Answer:
    """What is known of one machine. `facts` is empty where it did not answer, and `silence` says why. `clock`: seconds
    by which its clock is certainly ahead of the head's (behind: negative). `data`: the listing of its copy of the data
    set, `data_problem` why there is none."""

    address: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    silence: str = ""
    clock: float = 0.0
    data: str = ""
    data_problem: str = ""

    @property
    def host(self) -> str:
        return f"{self.facts['host']} ({self.address})" if self.facts else self.address


def judge(head: Mapping[str, Any], data: str, answers: Sequence[Answer], several: bool = False) -> list[Problem]:
    """Everything that keeps a study from running well; empty for a sound cluster.

    `head`: the facts of the machine that asks, by which all others are measured; `data`: the listing of its data set;
    `several`: whether runs are shared by workers of several machines.
    """
    found: list[Problem] = []
    drivers = {answer.facts["devices"]["driver"] for answer in answers if answer.facts} - {""}
    for answer in answers:
        if answer.silence:
            found.append(Problem(answer.host, "no answer", answer.silence, "an answer"))
            continue
        found += _software(head, answer)
        found += _devices(answer, max(drivers, default=""))
        found += _places(answer)
        if abs(answer.clock) > CLOCK_SECONDS:
            wrong = f"{abs(answer.clock):.0f} s {'ahead' if answer.clock > 0 else 'behind'}"
            found.append(Problem(answer.host, "clock", wrong, f"within {CLOCK_SECONDS:.0f} s of the head"))
        if answer.data_problem:
            found.append(Problem(answer.host, "data set", answer.data_problem, "a whole copy"))
        elif answer.data != data:
            found.append(Problem(answer.host, "data set", f"listing {answer.data[:12] or 'none'}", data[:12]))
        if several and answer.facts["loopback"]:
            what = "its name resolves to itself alone"
            found.append(Problem(answer.host, "network", what, "GLOO_SOCKET_IFNAME where Ray is started, or a name"))
    return found


def _software(head: Mapping[str, Any], answer: Answer) -> list[Problem]:
    facts = answer.facts
    found = []
    for name, needed in head["versions"].items():
        version = facts["versions"].get(name, "not installed")
        if version != needed or "import" in version:
            found.append(Problem(answer.host, name, version, needed if "import" not in needed else "a working one"))
    if facts["code"] != head["code"]:
        found.append(Problem(answer.host, "code of the project", facts["code"], head["code"]))
    return found


def _devices(answer: Answer, driver: str) -> list[Problem]:
    devices = answer.facts["devices"]
    found = []
    if devices["problem"]:
        found.append(Problem(answer.host, "GPU", devices["problem"], "a working driver"))
    if devices["driver"] and devices["driver"] != driver:
        found.append(Problem(answer.host, "driver", devices["driver"], driver))
    if devices["gpus"] and not devices["nccl"]:
        found.append(Problem(answer.host, "NCCL", "none", "torch with NCCL"))
    return found


def _places(answer: Answer) -> list[Problem]:
    found = []
    if answer.facts["storage"]:
        found.append(Problem(answer.host, "storage", answer.facts["storage"], "one folder, shared and writable"))
    for name, free in answer.facts["free"].items():
        if free < FREE_BYTES:
            found.append(Problem(answer.host, f"disk of {name}", f"{size(free)} free", f"{size(FREE_BYTES)}"))
    return found


def table(problems: Sequence[Problem]) -> str:
    """The problems in columns."""
    rows = [("machine", "what", "found", "needed"), *problems]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    )

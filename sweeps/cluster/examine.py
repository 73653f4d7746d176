"""Asks every machine of the Ray that is running for its facts, at once, and judges the answers."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pat.config import ConfigError, Data
from pat.plugins import load_plugins
from sweeps.cluster.facts import Machine, facts
from sweeps.cluster.verdict import Answer, Problem, judge
from sweeps.engine.cluster import ray
from sweeps.engine.records import first_line
from sweeps.engine.staging import listing, stage
from sweeps.version import ROOT

FOLDER = "_doctor"
ANSWER_SECONDS, PINGS = 45.0, 5
STAGE_SECONDS = 3600.0
"""The longest that a data set may take to be copied to the machines."""


def examine(storage: Path, data: Data, data_root: Path, source: str, several: bool) -> list[Problem]:
    """What is wrong with the machines for a study: `storage` is its storage folder; `source`: where machines copy the
    data set from into `data_root`, empty where it lies there already.

    Raises ConfigError where the head itself lacks the data set or cannot write.
    """
    ray.cloudpickle.register_pickle_by_value(sys.modules[Machine.__module__])
    token, place = uuid.uuid4().hex, storage / FOLDER
    places = {"storage": str(storage), "data": str(data_root), "temporary files": "/tmp"}
    try:
        place.mkdir(parents=True, exist_ok=True)
        (place / token).touch()
    except OSError as error:
        raise ConfigError(f"storage {str(storage)!r} cannot be written: {error.strerror}") from error
    try:
        own = facts(str(place), token, places, str(ROOT))
        expected = _data(data, data_root, source)
        machines = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
        asked = {node: _ask(node, str(place), token, places) for node in machines}
        deadline = time.monotonic() + ANSWER_SECONDS
        answers = [_answer(machines[node], *asked[node], deadline) for node in machines]
        answers = _with_data(answers, [actor for actor, _ in asked.values()], data, data_root, source)
        for actor, _ in asked.values():
            ray.kill(actor)
        return judge(own, expected, answers, several)
    finally:
        for path in place.glob(f"{token}*"):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # another one asks as well
            place.rmdir()


def _data(data: Data, root: Path, source: str) -> str:
    """The listing of a machine's data set, brought there first where it comes from elsewhere."""
    load_plugins()
    return stage(data, source, root) if source else listing(data, str(root))


def _ask(node: str, place: str, token: str, places: Mapping[str, str]) -> tuple[Any, Any]:
    """A process on that machine, and its facts to come."""
    where = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    actor = ray.remote(num_cpus=0)(Machine).options(scheduling_strategy=where).remote()
    return actor, actor.call.remote(facts, place, token, places, str(ROOT))


def _answer(address: str, actor: Any, coming: Any, deadline: float) -> Answer:
    try:
        found = ray.get(coming, timeout=max(0.1, deadline - time.monotonic()))
        return Answer(address, found, clock=_skew(actor))
    except Exception as error:
        late = isinstance(error, ray.exceptions.GetTimeoutError)
        return Answer(address, silence=f"none within {ANSWER_SECONDS:.0f} s" if late else first_line(error))


def _skew(actor: Any) -> float:
    """By how much the machine's clock is certainly ahead: its time lies between question and answer."""
    low, high = float("-inf"), float("inf")
    for _ in range(PINGS):
        before = time.time()
        there = ray.get(actor.clock.remote(), timeout=ANSWER_SECONDS)
        low, high = max(low, there - time.time()), min(high, there - before)
    return low if low > 0 else min(high, 0.0)


def _with_data(answers: list[Answer], actors: list[Any], data: Data, root: Path, source: str) -> list[Answer]:
    """The answers with each machine's data set; all machines copy at once."""
    coming = [
        actor.call.remote(_data, data, root, source) if answer.facts and not answer.facts["storage"] else None
        for answer, actor in zip(answers, actors, strict=True)
    ]
    found = []
    for answer, one in zip(answers, coming, strict=True):
        listed, problem = "", ""
        try:
            listed = ray.get(one, timeout=STAGE_SECONDS) if one is not None else ""
        except Exception as error:
            problem = first_line(getattr(error, "cause", None) or error)
        found.append(Answer(answer.address, answer.facts, answer.silence, answer.clock, listed, problem))
    return found

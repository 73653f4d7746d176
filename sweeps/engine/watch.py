"""Watches what a running study cannot do without: the head of its Ray, room for a run, its own lock, its limits."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import AbstractContextManager

from sweeps.engine.cluster import nodes, places, ray, slots
from sweeps.engine.driver import Driver
from sweeps.engine.repeat import repeating

EVERY, HEAD_SECONDS, SAY_SECONDS = 3.0, 20.0, 60.0


def watching(driver: Driver, workers: int, threads: int, gpu_share: float) -> AbstractContextManager[None]:
    """For the time of the block: says when no machine is left that a run would fit, and ends the process, with one
    line, when the head has been silent for 20 seconds (Ray itself would wait, then abort) or another driver took over.
    """
    head = ray.get_runtime_context().gcs_address
    seen, said = time.monotonic(), 0.0

    def look() -> None:
        nonlocal seen, said
        now = time.monotonic()
        driver.pausing()
        if driver.pulse is not None and driver.pulse.usurper:
            _leave(f"another driver ({driver.pulse.usurper}) took this study over")
        if answers(head):
            seen = now
            driver.health.hosts, driver.health.devices = places(threads, driver.gpus)
            if now - said > SAY_SECONDS and slots(nodes(), threads, gpu_share) < workers:
                said = now
                driver.progress.say("  waiting: no machine of the cluster has room for a run at present")
        elif now - seen > HEAD_SECONDS:
            _leave(f"the head of Ray at {head} has been silent for {HEAD_SECONDS:.0f} s")

    return repeating(look, EVERY)


def answers(address: str) -> bool:
    """Whether something listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=EVERY):
            return True
    except OSError:
        return False


def _leave(reason: str) -> None:
    """End at once: the thread that waits for Ray cannot be reached."""
    print(f"error: {reason}; nothing finished is lost, the same command goes on from here", file=sys.stderr, flush=True)
    os._exit(2)

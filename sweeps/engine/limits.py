"""What one call may take at most, by the clock and in device-hours. Once that is reached nothing more is handed out."""

from __future__ import annotations

import time
from collections.abc import Callable

ASK_ABOVE = 10.0
"""Device-hours above which a study does not start without a yes."""


class Limits:
    """`hours` since now, and `device_hours` that this call's segments take, each from when it is handed out to its
    end; None: as many as it takes. `words`: how the flag of each limit reads. `clock` in seconds."""

    def __init__(
        self,
        hours: float | None = None,
        device_hours: float | None = None,
        words: tuple[str, str] = ("--max-hours", "--max-cost"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hours, self._device_hours, self._words, self._clock = hours, device_hours, words, clock
        self._start = clock()
        self._spent = 0.0
        self._ended = ""
        self._flying: dict[str, tuple[float, float]] = {}

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self._hours is not None or self._device_hours is not None

    def began(self, run_id: str, devices: float) -> None:
        """A segment of a run was handed out, on so many devices."""
        self._flying[run_id] = self._clock(), devices

    def over(self, run_id: str) -> None:
        """That segment has come to its end, however; of one that was not handed out nothing is counted."""
        since, devices = self._flying.pop(run_id, (0.0, 0.0))
        self._spent += (self._clock() - since) * devices

    def spent(self) -> float:
        """Device-hours that this call has taken so far."""
        now = self._clock()
        return (self._spent + sum((now - since) * devices for since, devices in list(self._flying.values()))) / 3600

    def end(self, reason: str) -> None:
        """No more from now on."""
        self._ended = reason

    def reached(self) -> str:
        """Which limit is reached, in words; empty where none is."""
        if self._ended:
            return self._ended
        hours, spent = (self._clock() - self._start) / 3600, self.spent()
        if self._hours is not None and hours >= self._hours:
            return f"{self._words[0]} is reached"
        if self._device_hours is not None and spent >= self._device_hours:
            return f"{self._words[1]} is reached: {spent:.3g} device-hours"
        return ""

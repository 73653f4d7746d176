"""How long a study takes however many devices there are: the longest row of runs that wait for each other."""

from __future__ import annotations

from collections.abc import Mapping

from sweeps.planning.anchors import anchors_of
from sweeps.planning.planner import Planner
from sweeps.planning.speeds import Speeds
from sweeps.planning.units import Key


def chain_seconds(planner: Planner, speeds: Speeds, passed: Mapping[str, float] | None = None) -> float:
    """Seconds from now until the last unit is complete. `passed`: how long runs have been at their segments by now."""
    passed, known = passed or {}, dict[Key, float]()

    def of(key: Key) -> float:
        """What a unit waits for, and its own runs in a row."""
        if key not in known:
            known[key] = 0.0
            if longest := planner.units[key].longest:
                ready, epoch = planner.units[key].ready, speeds.seconds(key)
                chains = [segment.chain * epoch - passed.get(segment.run_id, 0.0) for segment in ready]
                own = max(chains, default=longest * epoch)
                known[key] = own + max((of(other) for other in planner.runs.needed(key)), default=0.0)
                known[key] = max(known[key], own + max((before(other) for other in anchors(key)), default=0.0))
        return known[key]

    def anchors(key: Key) -> list[Key]:
        """The cells whose searches a cell waits for, as long as they are not over."""
        found = [Key("cell", cell) for cell in anchors_of(planner.scope, key.cell)] if key.kind == "cell" else []
        return [other for other in found if other in planner.units and planner.units[other].outcome is None]

    def before(anchor: Key) -> float:
        """The same of an anchor without its confirmation, for which nobody waits."""
        confirmation = planner.scope.epochs(anchor.cell) * speeds.seconds(anchor)
        return of(anchor) - confirmation

    def last(key: Key) -> float:
        """The same of a unit with what it tries of other cells, for whose searches it waits."""
        found = [before(Key("cell", guest)) for guest, best in planner.guests(key.cell).items() if best is None]
        return max(
            of(key), max(found, default=0.0) + planner.scope.epochs(key.cell) * speeds.seconds(key) * bool(found)
        )

    return max((last(key) if key.kind == "cell" else of(key) for key in planner.units), default=0.0)

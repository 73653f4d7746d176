"""What `driver.json` says beside who drives: how far the study is, the runs in flight, the places that get no work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.engine.driver import Driver


def live(driver: Driver) -> dict[str, Any]:
    """The facts of this moment, as JSON values."""
    flying = list(driver.planner.flying.values())
    return {
        "slots": driver.progress.slots,
        "price": driver.price,
        "gpu_share": driver.study.gpu_share,
        "counts": driver.planner.counts(),
        "seconds_left": driver.progress.seconds_left(),
        "changed": driver.changed,
        "closed": driver.health.why_closed(time.time()),
        "running": [
            {
                "run_id": segment.run_id,
                "since": driver.since.get(segment.run_id),
                "phase": segment.phase,
                "cell": list(segment.cell),
                "seed": segment.config.seed,
                "until": segment.until,
                "epochs": segment.config.recipe.epochs,
            }
            for segment in flying
            if segment.run_id not in driver.planner.aside
        ],
    }

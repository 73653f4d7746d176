"""Whether this process was started by a Ray job."""

from __future__ import annotations

import os

VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def in_job() -> bool:
    """Ray puts a job's configuration into the environment of its entry point."""
    return VARIABLE in os.environ

"""How this process was started, and so which Ray it runs on; all of it before Ray is imported."""

from __future__ import annotations

import os
import secrets

VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
MODE, TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"


def in_job() -> bool:
    """Ray puts a job's configuration into the environment of its entry point."""
    return VARIABLE in os.environ


def address(given: str | None) -> str:
    """The Ray to run on: the one given; its own for what a Ray job started; else a fresh one, `local`.

    A Ray that merely happens to run on this machine is never joined. Every part of a fresh one listens on the network:
    it asks for a token that is made here and that nobody else has, unless the environment says how it is to be.
    """
    if given:
        return given
    if in_job():
        return "auto"
    if MODE not in os.environ:
        os.environ.update({MODE: "token", TOKEN: secrets.token_hex(32)})
    return "local"

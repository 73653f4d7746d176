"""The search of presets in which the model proposes."""

from __future__ import annotations

from typing import Any

PROPOSED: dict[str, Any] = {"trials": 16, "wave": 8, "eta": 4, "prior": 0.25, "keep_default": True, "knobs": 1}
"""Two waves of eight: the default and seven around it; then four around it and four that the model proposes. Never more
options than settings."""

"""Scratch under another name, which a study trains for longer: what as much time as a pre-training takes brings."""

from __future__ import annotations

from pat.methods.base import register_method
from pat.methods.scratch import Scratch


@register_method
class Longer(Scratch):
    """As scratch. How much longer is the recipe's business (`sweeps.pretraining`)."""

"""PAT in the form that we recommend, as a column of its own: one study sets it beside the paper's."""

from __future__ import annotations

from pat.methods.base import register_method
from pat.methods.pat import PAT


@register_method
class HintedPAT(PAT):
    """PAT with `variant="hinted"`: to the bit what `pat` is with it; options are those of `pat`."""

    tasks = ("classification",)
    variants = {"hinted": PAT.variants["hinted"]}

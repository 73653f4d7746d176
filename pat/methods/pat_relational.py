"""PAT with logits compared as DIST does, as a column of its own: one study sets it beside the other forms."""

from __future__ import annotations

from pat.methods.base import register_method
from pat.methods.pat import PAT


@register_method
class RelationalPAT(PAT):
    """PAT with `variant="relational"`: to the bit what `pat` is with it; options are those of `pat`."""

    tasks = ("classification",)
    variants = {"relational": PAT.variants["relational"]}

"""Steps through torch.compile, where a recipe asks for them (`recipe.compiled`)."""

from __future__ import annotations

import torch
from torch import nn

_LIMIT = 1 << 16
"""Versions of one function. Beyond torch's own 8 it would go on uncompiled, with other numbers and without a word; a
method that counts epochs makes one in each."""


def compile_steps(method: nn.Module) -> None:
    """From now on a call of `method` runs what torch.compile makes of it; what was compiled before is let go."""
    torch.compiler.reset()
    for name in ("recompile_limit", "accumulated_recompile_limit"):
        setattr(torch._dynamo.config, name, _LIMIT)
    method.compile()

"""A start without torch's compiler, for a process that compiles nothing and soon ends.

torchvision and timm import `torch._dynamo` when they are imported, for one decorator and one question; that takes
longer than all the rest of them.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def without_compiler() -> None:
    """For the whole of this process, which must not have imported torch yet: functions that are to be left out of
    graphs stay as they are, since there are no graphs."""
    if "torch" in sys.modules:
        return
    dynamo, utils = ModuleType("torch._dynamo"), ModuleType("torch._dynamo.utils")
    vars(dynamo).update(disable=_as_it_is, utils=utils)
    vars(utils).update(is_compile_supported=lambda device: False)
    sys.modules |= {"torch._dynamo": dynamo, "torch._dynamo.utils": utils}


def _as_it_is(function: Any = None, *_: Any, **__: Any) -> Any:
    """In the place of a decorator, with arguments or without."""
    return function if function is not None else _as_it_is

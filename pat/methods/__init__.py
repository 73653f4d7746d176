"""Distillation methods, one a file; importing this package registers them all."""

import importlib
import pkgutil

from pat.methods.base import Losses, Method, check_task, create_method, list_methods, method_options, register_method

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Losses", "Method", "check_task", "create_method", "list_methods", "method_options", "register_method"]

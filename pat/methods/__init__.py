"""Distillation methods, one a file; importing this package registers them all."""

import pkgutil

from pat.methods.base import Losses, Method, check_task, create_method, list_methods, method_options, register_method
from pat.plugins import import_siblings

import_siblings(__name__, [module.name for module in pkgutil.iter_modules(__path__)])

__all__ = ["Losses", "Method", "check_task", "create_method", "list_methods", "method_options", "register_method"]

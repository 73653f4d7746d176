"""The text of one's own files as this process imported it: a digest of each, by which another text is seen.

Comments and blank lines are no part of it. A module's own files are its own and those it imports from beside it.
Standard library only.
"""

from __future__ import annotations

import ast
import hashlib
import io
import sys
import tokenize
from collections.abc import Iterable, Iterator
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType

HOUSE = sys.stdlib_module_names | {"pat", "sweeps", "analysis", "timm", "torch", "torchvision"}
"""Packages whose versions are in every run's record."""
INSTALLED = frozenset({"site-packages", "dist-packages"})
_SKIPPED = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING)
_SHAPE = {tokenize.INDENT: "\x01", tokenize.DEDENT: "\x02", tokenize.NEWLINE: "\n"}


def texts(names: Iterable[str]) -> dict[str, str]:
    """The files of modules that this process has imported, with the digest of each; none for those of HOUSE."""
    return {file_name(module): _imported(module, path) for module, path in _own(names)}


def edited(name: str) -> list[str]:
    """The files of a module whose text is no longer the one that this process imported."""
    return [file_name(module) for module, path in _own([name]) if digest(path) != _imported(module, path)]


def _own(names: Iterable[str]) -> list[tuple[ModuleType, Path]]:
    """The modules of these names and what they import from beside them, by their files."""
    found: dict[str, tuple[ModuleType, Path]] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        path = _source(module)
        if name in found or module is None or path is None or _top(name) in HOUSE:
            continue
        found[name] = module, path
        waiting += [other for other in _imports(path, module) if is_beside(sys.modules.get(other), module)]
    return [found[name] for name in sorted(found)]


def file_name(module: ModuleType) -> str:
    """The file of a module relative to the folder in which Python looks for it."""
    return module.__name__.replace(".", "/") + ("/__init__.py" if hasattr(module, "__path__") else ".py")


def is_beside(other: ModuleType | None, module: ModuleType) -> bool:
    """Whether `other` is of the same package as `module`, or lies below its folder and was not installed there."""
    own, path = _source(module), _source(other)
    if own is None or path is None or other is None or _top(other.__name__) in HOUSE:
        return False
    if _top(other.__name__) == _top(module.__name__):
        return True
    root = own.parents[file_name(module).count("/")]
    return path.is_relative_to(root) and not INSTALLED & {*path.parts}


def digest(path: Path) -> str:
    """Twelve hexadecimal digits of what Python reads in a file; of all bytes where it is no Python."""
    data = path.read_bytes()
    try:
        tokens = list(tokenize.tokenize(io.BytesIO(data).readline))
        data = "\0".join(_SHAPE.get(one.type, one.string) for one in tokens if one.type not in _SKIPPED).encode()
    except (tokenize.TokenError, SyntaxError):
        pass
    return hashlib.sha256(data).hexdigest()[:12]


def _imported(module: ModuleType, path: Path) -> str:
    """The digest when it was first asked for; a module that is loaded again has another spec."""
    known: str = vars(module.__spec__ or module).setdefault("text_digest", digest(path))
    return known


def _source(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    path = Path(file).resolve() if isinstance(file, str) else None
    return path if path is not None and path.suffix == ".py" and path.is_file() else None


def _top(name: str) -> str:
    return name.partition(".")[0]


def _imports(path: Path, module: ModuleType) -> Iterator[str]:
    """The names under which the text in a module's file may import modules; none where it is no Python any more."""
    package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)

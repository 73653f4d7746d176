"""Training that starts from another run's student or from a file: all of its weights but a head for other classes."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from pat.config import ConfigError, DataError
from pat.weights import read_weights, sha256

RUN, FILE = "run:", "sha256:"
"""Before the run_id, or the SHA-256 of a file's bytes, in what a configuration names as its initial weights."""


def checked_sha256(file: Path | None, expected: str | None) -> str:
    """The SHA-256 of a file of initial weights, empty without one. Raises DataError for another than is expected."""
    if file is None:
        return ""
    found = sha256(file)
    if expected and found != expected:
        raise DataError(f"initial weights {str(file)!r} have SHA-256 {found}, but {expected} is expected")
    return found


def start_from(model: nn.Module, file: Path | None) -> None:
    """Gives a timm model the weights of a file: a run of the same architecture exported it, or a person has it.

    A head for another number of classes is left out, or one that only the model or only the file has; all else must
    fit by name and shape. Raises ConfigError, one line naming the file, where it does not.
    """
    if file is None:
        raise ConfigError("initial weights from a run or a file: no weights file given")
    own = model.state_dict()
    state = read_weights(file, own.keys())
    shapes, needed = ({key: tuple(t.shape) for key, t in tensors.items()} for tensors in (state, own))
    differing = {key for key in shapes.keys() | needed.keys() if shapes.get(key) != needed.get(key)}
    head = {key for key in shapes.keys() | needed.keys() if _in_head(model, key)}
    if wrong := sorted(differing - head):
        key = wrong[0]
        found = f"of shape {shapes[key]}" if key in shapes else "missing"
        wanted = f"{needed[key]} is needed" if key in needed else "the model has none"
        raise ConfigError(f"initial weights {str(file)!r} do not fit: {key} is {found}, {wanted} ({len(wrong)} in all)")
    kept = state.keys() - (head if differing else set())
    model.load_state_dict({key: state[key] for key in kept}, strict=False)


def _in_head(model: nn.Module, key: str) -> bool:
    """Whether a weight belongs to the classifiers that timm names."""
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    heads = (names,) if isinstance(names, str) else names
    return any(key.startswith(f"{name}.") for name in heads)

"""Students and frozen teachers from timm names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import timm
import torch
from timm.models import load_state_dict
from torch import Tensor, nn

from pat import architectures  # noqa: F401  (registers its names with timm)
from pat.config import ConfigError, unknown


def list_models() -> list[str]:
    """Every name that a student or teacher may have: timm's and those of `pat.architectures`."""
    return timm.list_models()


def check_model(name: str, what: str = "model") -> None:
    """Raises ConfigError with the nearest names unless `name` (a timm tag after a dot is allowed) exists."""
    if not timm.is_model(name):
        raise unknown(what, name, list_models())


def create_model(name: str, num_classes: int, image_size: int | tuple[int, int], initial: str = "") -> nn.Module:
    """A model on the CPU for inputs of `image_size` pixels; random weights from torch's generator.

    `initial` = `timm:<name.tag>` loads timm's pretrained weights (all but the classifier, if its size differs).
    Raises ConfigError where timm has no such name, size or weights.
    """
    check_model(name)
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    cfg = timm.get_pretrained_cfg(name)
    kwargs = {}
    if cfg is not None and cfg.fixed_input_size and tuple(cfg.input_size[1:]) != size:
        kwargs["img_size"] = size
    tag = initial.removeprefix("timm:")
    try:
        return timm.create_model(tag or name, pretrained=bool(tag), num_classes=num_classes, **kwargs)
    except Exception as error:  # timm raises many kinds; the user needs the one line
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        weights = f" with weights {tag}" if tag else ""
        raise ConfigError(f"model {name!r} cannot be built for {size[0]}x{size[1]} px{weights}: {reason}") from error


def create_student(name: str, num_classes: int, image_size: int, seed: int, initial: str = "") -> nn.Module:
    """A student whose initial weights are a function of (name, num_classes, image_size, seed, initial) alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create_model(name, num_classes, image_size, initial)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file. Raises ConfigError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"weights file {str(path)!r} cannot be read: {error.strerror}") from error


def create_teacher(
    name: str, num_classes: int, image_size: int, weights: Path, expected_sha256: str | None = None
) -> tuple[nn.Module, str]:
    """A frozen teacher in eval mode from a file (safetensors or a state dict), and the SHA-256 of its bytes.

    Raises ConfigError if the bytes are not the expected ones or do not fit the model.
    """
    found = sha256(weights)
    if expected_sha256 is not None and found != expected_sha256:
        raise ConfigError(f"teacher {name!r}: {str(weights)!r} has SHA-256 {found}, but {expected_sha256} is expected")
    teacher = create_model(name, num_classes, image_size)
    try:
        state = load_state_dict(str(weights), use_ema=False, device="cpu", weights_only=True)
    except Exception as error:
        raise ConfigError(f"teacher {name!r}: {str(weights)!r} holds no readable weights") from error
    load_exactly(teacher, state, f"teacher {name!r} from {str(weights)!r}")
    return teacher.requires_grad_(False).eval(), found


def load_exactly(model: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Loads `state` into `model`; ConfigError names the first difference, a class count before all else."""
    own = model.state_dict()
    head = getattr(model, "pretrained_cfg", {}).get("classifier")
    for key in (f"{name}.bias" for name in ([head] if isinstance(head, str) else list(head or ()))):
        if key in own and key in state and own[key].shape != state[key].shape:
            raise ConfigError(f"{what} has {len(state[key])} classes, the data set has {len(own[key])}")
    for kind, keys in (("lacks", own.keys() - state.keys()), ("has the foreign", state.keys() - own.keys())):
        if keys:
            raise ConfigError(f"{what} {kind} weights {', '.join(sorted(keys)[:3])} ({len(keys)} in all)")
    for key, tensor in own.items():
        if tensor.shape != state[key].shape:
            raise ConfigError(f"{what}: {key} has shape {tuple(state[key].shape)}, {tuple(tensor.shape)} is needed")
    model.load_state_dict(state)


def normalisation(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of the inputs (pixels in [0, 1]) that `model` was made for."""
    cfg = getattr(model, "pretrained_cfg", {})
    return tuple(cfg.get("mean", (0.485, 0.456, 0.406))), tuple(cfg.get("std", (0.229, 0.224, 0.225)))


def has_batchnorm(model: nn.Module) -> bool:
    """Whether the model's training step couples the samples of a batch through running statistics."""
    return any(name.endswith("running_mean") for name, _ in model.named_buffers())


def family(name: str) -> str:
    """`cnn`, `vit` or `mlp`, by what mixes positions: attention (vit), convolutions beyond the stem (cnn), else mlp."""
    check_model(name)
    with torch.device("meta"):
        model = timm.create_model(name)
    paths = [path for path, _ in model.named_modules()]
    if any(path.rsplit(".", 1)[-1] in _ATTENTION for path in paths):
        return "vit"
    spatial = [p for p in model.parameters() if p.ndim == 4 and max(p.shape[2:]) > 1]
    return "cnn" if len(spatial) > _STEM_CONVOLUTIONS else "mlp"


_ATTENTION = {"qkv", "q_proj", "to_qkv", "in_proj", "kv", "to_kv", "q_lin", "query"}
_STEM_CONVOLUTIONS = 4

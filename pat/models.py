"""Students and frozen teachers from timm names."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save
from timm.models import get_arch_name, is_model_pretrained, list_pretrained
from torch import Tensor, nn

from pat.config import ConfigError, DataError, unknown
from pat.resolve import check_model
from pat.starting import FILE, RUN, start_from
from pat.weights import read_weights, sha256


def create_model(
    name: str,
    num_classes: int,
    image_size: int | tuple[int, int],
    initial: str = "",
    initial_file: Path | None = None,
    **kwargs: Any,
) -> nn.Module:
    """A model on the CPU for inputs of `image_size` pixels; random weights from torch's generator.

    `initial` = `timm:<name.tag>` loads timm's pretrained weights (all but the classifier, if its size differs), from
    `initial_file` (`native_file`) where that is given; `run:<run_id>` those of that run's student, `sha256:<hex>` those
    of a file, which are `initial_file`. `kwargs` go to timm. Raises ConfigError where timm has no such name, size or
    weights.
    """
    check_model(name)
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    cfg = timm.get_pretrained_cfg(name)
    if cfg is not None and cfg.fixed_input_size and tuple(cfg.input_size[1:]) != size:
        kwargs["img_size"] = size
    tag = "" if initial.startswith((RUN, FILE)) else initial.removeprefix("timm:")
    if tag and initial_file is not None:
        kwargs["pretrained_cfg_overlay"] = {"file": str(initial_file)}
    try:
        model = timm.create_model(tag or name, pretrained=bool(tag), num_classes=num_classes, **kwargs)
    except Exception as error:  # timm raises many kinds; the user needs the one line
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        weights = f" with weights {initial_file or tag}" if tag else ""
        raise ConfigError(f"model {name!r} cannot be built for {size[0]}x{size[1]} px{weights}: {reason}") from error
    if initial.startswith((RUN, FILE)):
        start_from(model, initial_file)
    return model


def create_student(
    name: str, num_classes: int, image_size: int, seed: int, initial: str = "", initial_file: Path | None = None
) -> nn.Module:
    """A student whose initial weights are a function of (name, num_classes, image_size, seed) and of what it starts
    from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create_model(name, num_classes, image_size, initial, initial_file)


def create_teacher(
    name: str, num_classes: int, image_size: int, weights: Path, expected_sha256: str | None = None
) -> tuple[nn.Module, str]:
    """A frozen classifier (`load_teacher`)."""
    return load_teacher(
        name, lambda classes: create_model(name, classes, image_size), num_classes, weights, expected_sha256
    )


def load_teacher(
    name: str,
    build: Callable[[int], nn.Module],
    num_classes: int,
    weights: Path,
    expected_sha256: str | None = None,
) -> tuple[nn.Module, str]:
    """A frozen teacher in eval mode from a file (`pat.weights.read_weights`), and the SHA-256 of its bytes.

    `build` makes the model for a number of classes. Files in the layout of a model's first release are translated
    where timm knows how. Raises ConfigError, one line naming the file, if the bytes are not the expected ones or do
    not fit the model, its size or its classes.
    """
    found = sha256(weights)
    what = f"teacher {name!r}: weights file {str(weights)!r}"
    if expected_sha256 is not None and found != expected_sha256:
        raise DataError(f"{what} has SHA-256 {found}, but {expected_sha256} is expected")
    teacher = build(num_classes)
    state = _in_timm_layout(name, teacher, read_weights(weights, teacher.state_dict().keys()))
    if problem := _other_names(teacher, state) or _other_shapes(build, num_classes, teacher, state):
        raise ConfigError(f"{what} {problem}")
    teacher.load_state_dict(state)
    return teacher.requires_grad_(False).eval(), found


def check_pretrained(name: str, tag: str, what: str = "teacher") -> None:
    """Raises ConfigError unless timm has weights `tag` (`<name>.<tag>`) for the model `name`; needs no network."""
    architecture = get_arch_name(name)
    check_model(name, what)
    if get_arch_name(tag) != architecture or "." not in tag:
        raise ConfigError(f"{what} {name!r}: weights 'timm:{tag}', needed are timm:{architecture}.<tag>")
    if not is_model_pretrained(tag):
        raise unknown("timm weights", tag, list_pretrained(architecture), of=f" of {architecture!r}")


def pretrained_file(tag: str, num_classes: int | None, image_size: int) -> bytes:
    """timm's pretrained weights `tag` with their classifier, for inputs of `image_size` px, as a safetensors file.

    Fetched through timm (and kept in its cache). Raises ConfigError where they were made for another number of
    classes (None: any will do), or cannot be had.
    """
    classes = timm.get_pretrained_cfg(tag).num_classes
    if num_classes not in (None, classes):
        raise ConfigError(f"teacher weights 'timm:{tag}' have {classes} classes, the data set has {num_classes}")
    return _as_file(create_model(get_arch_name(tag), classes, image_size, f"timm:{tag}"))


def native_file(tag: str) -> bytes:
    """timm's pretrained weights `tag` as they are, for their own classes and image size, as a safetensors file.

    Training that starts from this file starts as from the tag itself. Raises ConfigError where it cannot be had.
    """
    cfg = timm.get_pretrained_cfg(tag)
    return _as_file(create_model(get_arch_name(tag), cfg.num_classes, tuple(cfg.input_size[1:]), f"timm:{tag}"))


def _as_file(model: nn.Module) -> bytes:
    tensors = model.state_dict().items()
    return save({key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in tensors})


def _in_timm_layout(name: str, model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` under timm's own names, if it has others and timm's module of this model has a translation for them.

    The translation is all of timm's: where it finds positions of another image size, it resamples them.
    """
    module = sys.modules[timm.model_entrypoint(name).__module__]
    translate = getattr(module, "checkpoint_filter_fn", None)
    if translate is None or not _other_names(model, state):
        return state
    # timm's DeiT-III asks for this one; in a file without layer scales it changes nothing
    given = {"adapt_layer_scale": True} if "adapt_layer_scale" in inspect.signature(translate).parameters else {}
    try:
        translated: dict[str, Tensor] = translate(dict(state), model, **given)
    except Exception:  # the file is of no kind that the translation was written for: its own names are reported
        return state
    return state if _other_names(model, translated) else translated


def _other_names(model: nn.Module, state: Mapping[str, Tensor]) -> str:
    """Which weights `state` lacks and which it has too many, in a few words; empty if the names fit.

    Files from before torch counted the batches of BatchNorm lack that number, which a teacher never reads.
    """
    own = model.state_dict().keys()
    lacking = [key for key in own - state.keys() if not key.endswith("num_batches_tracked")]
    kinds = (("lacks", sorted(lacking)), ("has the foreign", sorted(state.keys() - own)))
    return " and ".join(f"{kind} weights {', '.join(keys[:3])} ({len(keys)} in all)" for kind, keys in kinds if keys)


def _other_shapes(
    build: Callable[[int], nn.Module], num_classes: int, model: nn.Module, state: Mapping[str, Tensor]
) -> str:
    """The first weight of `state` that has another shape than `model` needs, the head before all; empty if none has."""
    differing = [
        (key, tuple(state[key].shape), tuple(own.shape))
        for key, own in model.state_dict().items()
        if key in state and own.shape != state[key].shape
    ]
    if not differing:
        return ""
    if (classes := _classes(build, num_classes, state)) not in (None, num_classes):
        return f"has {classes} classes, the data set has {num_classes}"
    key, found, needed = differing[0]
    return f"has {key} of shape {found}, {needed} is needed"


def _classes(build: Callable[[int], nn.Module], num_classes: int, state: Mapping[str, Tensor]) -> int | None:
    """The number of classes of the head in `state`, whatever head the model has; None if its head is not there.

    The head's tensors are those that change with the number of classes.
    """
    with torch.device("meta"):
        one, other = (build(count).state_dict() for count in (num_classes, num_classes + 1))
    for key in one.keys() & state.keys():
        for axis, sizes in enumerate(zip(one[key].shape, other[key].shape, strict=True)):
            if sizes == (num_classes, num_classes + 1) and state[key].ndim == one[key].ndim:
                return state[key].shape[axis]
    return None


def native_size(name: str) -> tuple[int, int]:
    """Height and width in pixels that timm has on record for a model; 224 x 224 where it has nothing."""
    cfg = timm.get_pretrained_cfg(name)
    return tuple(cfg.input_size[1:]) if cfg and cfg.input_size else (224, 224)


def has_record(name: str) -> bool:
    """Whether timm has a record of what a model was made for."""
    return timm.get_pretrained_cfg(name) is not None


def normalisation(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of the inputs (pixels in [0, 1]) that `model` was made for."""
    cfg = getattr(model, "pretrained_cfg", {})
    return tuple(cfg.get("mean", (0.485, 0.456, 0.406))), tuple(cfg.get("std", (0.229, 0.224, 0.225)))


def has_batchnorm(model: nn.Module) -> bool:
    """Whether the model's training step couples the samples of a worker's batch through running statistics.

    Frozen ones count no batches; where `synchronised`, statistics are those of all workers.
    """
    counting = (m for m in model.modules() if getattr(m, "num_batches_tracked", None) is not None)
    return not all(getattr(module, "synchronised", False) for module in counting)


def family(name: str) -> str:
    """`cnn`, `vit` or `mlp`: the family of timm's model of this name."""
    check_model(name)
    with torch.device("meta"):
        return family_of(timm.create_model(name))


def family_of(model: nn.Module) -> str:
    """`cnn`, `vit` or `mlp`, by what mixes positions: attention (vit), convolutions beyond the stem (cnn), else mlp."""
    paths = [path for path, _ in model.named_modules()]
    if any(path.rsplit(".", 1)[-1] in _ATTENTION for path in paths):
        return "vit"
    spatial = [p for p in model.parameters() if p.ndim == 4 and max(p.shape[2:]) > 1]
    return "cnn" if len(spatial) > _STEM_CONVOLUTIONS else "mlp"


def locality(model: nn.Module) -> float:
    """How local a model's mixing of positions is: 1 for a CNN, else the share of its parameters that are convolutions
    over positions. The first layer does not count: it cuts patches."""
    if family_of(model) == "cnn":
        return 1.0
    first = getattr(model, "pretrained_cfg", {}).get("first_conv") or ()
    stems = tuple(f"{name}." for name in ((first,) if isinstance(first, str) else first))
    sizes = [
        (p.numel(), p.ndim == 4 and max(p.shape[2:]) > 1 and not n.startswith(stems))
        for n, p in model.named_parameters()
    ]
    return sum(size for size, local in sizes if local) / sum(size for size, _ in sizes)


_ATTENTION = {"qkv", "q_proj", "to_qkv", "in_proj", "kv", "to_kv", "q_lin", "query"}
_STEM_CONVOLUTIONS = 4

"""The pyramid of a strided timm backbone: what detectors and segmenters are built on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import freeze_batch_norm_2d
from timm.models import get_arch_name
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from pat.errors import ConfigError
from pat.layouts import Size, sizes_at
from pat.models import create_model, has_batchnorm
from pat.replay import probing
from pat.resolve import check_model
from pat.taps import StageTaps, TapError

ANY_CANVAS = {"dynamic_img_size": True, "always_partition": True}
"""Arguments by which a timm model takes images of any size and, where it has windows, shifts them at every size as
at a large one. A Swin built for 224 px would else not shift those of its last stage, whose map is one window there."""

TRACED: Size = (224, 320)
"""Height and width at which stages are found. They are the same at any canvas, so it is a small one."""
_OTHER: Size = (96, 160)


def create_backbone(
    name: str, canvas: Size, initial: str = "", initial_file: Path | None = None, freeze_norm: bool = False
) -> nn.Module:
    """timm's model `name` without its classifier, for canvases like `canvas` (h, w); weights as `create_model`'s.

    `freeze_norm`: BatchNorm keeps the statistics, weights and biases that it starts with. Raises ConfigError where
    timm has no such name or weights, or says that the model takes one image size alone.
    """
    check_model(name)
    cfg, given = timm.get_pretrained_cfg(name), {}
    if cfg is not None and cfg.fixed_input_size:
        given = {key: value for key, value in ANY_CANVAS.items() if key in _parameters(name)}
        canvas = tuple(cfg.input_size[1:])
        if "dynamic_img_size" not in given:
            raise _refused(name, "its grid is fixed")
    model = create_model(name, 0, canvas, initial, initial_file, **given)
    return freeze_batch_norm_2d(model) if freeze_norm else model


@lru_cache(maxsize=256)
def check_backbone(name: str) -> bool:
    """Whether timm's model `name` has BatchNorm. Raises ConfigError where it cannot be a backbone; computes nothing."""
    with torch.device("meta"):
        return has_batchnorm(Pyramid(create_backbone(name, TRACED), TRACED, width=1).backbone)


class Pyramid(nn.Module):
    """A backbone, read by `taps` at the end of its four stages, and a feature pyramid network on their maps.

    `canvas` (h, w) is the nominal size of the images in pixels; any other may follow. `taps` is no submodule, and
    a deep copy reads its own backbone. `strides` are those of the levels, finest first, in pixels. Raises ConfigError
    for a backbone whose stages do not halve the grid each, or that takes one canvas alone.
    """

    def __init__(self, backbone: nn.Module, canvas: Size, width: int, extra: ExtraFPNBlock | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.taps = _taps(backbone, canvas)
        self.strides = [stage.stride for stage in self.taps.stages]
        self.fpn = FeaturePyramidNetwork([stage.channels for stage in self.taps.stages], width, extra)
        self.pretrained_cfg: Any = getattr(backbone, "pretrained_cfg", {})

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """timm's switch of the backbone, whose stages may then be other modules."""
        self.backbone.set_grad_checkpointing(enable)  # type: ignore[operator]
        self.taps = _taps(self.backbone, self.taps.image_size)

    def no_weight_decay(self) -> set[str]:
        """Parameters that the backbone wants free of weight decay (timm's convention)."""
        names: Callable[[], set[str]] = getattr(self.backbone, "no_weight_decay", set)
        return {f"backbone.{name}" for name in names()}

    def pyramid(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The levels [B, width, h_i, w_i] of the stages' maps, the finest first, and what `extra` adds to them."""
        return tuple(self.fpn({str(stage): x for stage, x in enumerate(maps)}).values())


def _taps(backbone: nn.Module, canvas: Size) -> StageTaps:
    """Taps on the four stages of `backbone`, tried out at a canvas that is not the nominal one."""
    name = (getattr(backbone, "pretrained_cfg", None) or {}).get("architecture", type(backbone).__name__)
    size = canvas
    try:
        taps = StageTaps(backbone, canvas)
        strides = [stage.stride for stage in taps.stages]
        if strides != [strides[0] * 2**stage for stage in range(4)]:
            raise TapError(f"its stages have strides {', '.join(map(str, strides))}")
        size = _OTHER if tuple(canvas) != _OTHER else _OTHER[::-1]
        with probing(backbone), torch.no_grad():
            maps = taps(next(backbone.parameters()).new_zeros(2, 3, *size)).maps
        grids = [tuple(x.shape[2:]) for x in maps]
        if any(grid not in sizes_at(size, stride) for grid, stride in zip(grids, strides, strict=True)):
            raise TapError(f"its maps of {size[0]}x{size[1]} px are not of strides {', '.join(map(str, strides))}")
    except TapError as error:
        raise _refused(name, str(error)) from error
    except Exception as error:  # a model raises many kinds where a size does not suit it
        raise _refused(name, f"it takes no images of {size[0]}x{size[1]} px") from error
    return taps


def _parameters(name: str) -> Any:
    """The arguments that the class of timm's model `name` takes."""
    with torch.device("meta"):
        return inspect.signature(type(timm.create_model(get_arch_name(name), num_classes=0))).parameters


def _refused(name: str, reason: str) -> ConfigError:
    return ConfigError(
        f"model {name!r}: cannot be the backbone of detection or segmentation: {reason}; "
        "choose a strided one (resnet, mobilenet, convnext, swin …)"
    )

"""Architectures that timm lacks, registered with timm so that they are timm names like any other.

- `swin_nano` / `swin_pico`: the small Swin students of the OFA and PAT papers.
- `*_nano_*`, `*_micro_*`, `*_milli_*`: one CNN, one ViT and one MLP at 32 px in three sizes, for studies that run
  in minutes (nano students under micro teachers, 16 tokens) or on one GPU (micro students at 64 tokens under milli
  teachers). They are timm's own classes with small numbers, nothing else. `convnext_nano_patch1_32` has a last map of
  16 cells, some of which can be hidden.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.convnext import ConvNeXt
from timm.models.mlp_mixer import MlpMixer
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn


def _cfg(size: int, first_conv: str, classifier: str, fixed: bool = False) -> dict[str, Any]:
    """timm's record of a model: no weights exist; inputs are normalised with the ImageNet statistics."""
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, size, size),
        "fixed_input_size": fixed,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "first_conv": first_conv,
        "classifier": classifier,
    }


_SWIN = _cfg(224, "patch_embed.proj", "head.fc", fixed=True)
_VIT = _cfg(32, "patch_embed.proj", "head", fixed=True)
_MIXER = _cfg(32, "stem.proj", "head", fixed=True)
_CONVNEXT = _cfg(32, "stem.0", "head.fc")
_RESNET = _cfg(32, "conv1.0", "fc")

default_cfgs = generate_default_cfgs(
    {
        "swin_nano_patch4_window7_224.untrained": _SWIN,
        "swin_pico_patch4_window7_224.untrained": _SWIN,
        "resnet_nano_32.untrained": _RESNET,
        "resnet_micro_32.untrained": _RESNET,
        "convnext_nano_patch1_32.untrained": _CONVNEXT,
        "convnext_micro_32.untrained": _CONVNEXT,
        "convnext_milli_32.untrained": _CONVNEXT,
        "vit_nano_patch8_32.untrained": _VIT,
        "vit_micro_patch8_32.untrained": _VIT,
        "vit_micro_patch4_32.untrained": _VIT,
        "vit_milli_patch4_32.untrained": _VIT,
        "mixer_nano_patch8_32.untrained": _MIXER,
        "mixer_micro_patch8_32.untrained": _MIXER,
        "mixer_micro_patch4_32.untrained": _MIXER,
        "mixer_milli_patch4_32.untrained": _MIXER,
    }
)


def _build(cls: type[nn.Module], name: str, given: dict[str, Any], **architecture: Any) -> nn.Module:
    """One model of timm's class `cls`; what the caller gives (class count, image size) goes over the defaults."""
    return build_model_with_cfg(cls, name, **{"pretrained": False, **architecture, **given})


def _swin(name: str, kwargs: dict[str, Any], dim: int) -> nn.Module:
    return _build(
        SwinTransformer,
        name,
        kwargs,
        patch_size=4,
        window_size=7,
        embed_dim=dim,
        depths=(2, 2, 2, 2),
        num_heads=(2, 4, 8, 16),
    )


def _vit(name: str, kwargs: dict[str, Any], patch: int, dim: int, depth: int, heads: int) -> nn.Module:
    """Averaged tokens and the initialisation of the original ViT: with a class token these sizes learn far slower."""
    shape = {"patch_size": patch, "embed_dim": dim, "depth": depth, "num_heads": heads}
    return _build(
        VisionTransformer, name, kwargs, img_size=32, class_token=False, global_pool="avg", weight_init="jax", **shape
    )


def _mixer(name: str, kwargs: dict[str, Any], patch: int, dim: int, depth: int) -> nn.Module:
    return _build(
        MlpMixer, name, kwargs, img_size=32, patch_size=patch, num_blocks=depth, embed_dim=dim, mlp_ratio=(1.0, 4.0)
    )


def _convnext(
    name: str, kwargs: dict[str, Any], patch: int, depths: tuple[int, ...], dims: tuple[int, ...]
) -> nn.Module:
    return _build(ConvNeXt, name, kwargs, patch_size=patch, depths=depths, dims=dims)


def _resnet(name: str, kwargs: dict[str, Any], channels: tuple[int, ...]) -> nn.Module:
    return _build(
        ResNet,
        name,
        kwargs,
        block=BasicBlock,
        layers=(1, 1, 1, 1),
        channels=channels,
        stem_width=channels[0] // 2,
        stem_type="deep",
    )


@register_model
def swin_nano_patch4_window7_224(**kwargs: Any) -> nn.Module:
    """Swin, embed 64, depths 2-2-2-2 (the OFA and PAT papers' student on ImageNet)."""
    return _swin("swin_nano_patch4_window7_224", kwargs, dim=64)


@register_model
def swin_pico_patch4_window7_224(**kwargs: Any) -> nn.Module:
    """Swin, embed 48, depths 2-2-2-2 (the OFA and PAT papers' student on CIFAR-100)."""
    return _swin("swin_pico_patch4_window7_224", kwargs, dim=48)


@register_model
def resnet_nano_32(**kwargs: Any) -> nn.Module:
    return _resnet("resnet_nano_32", kwargs, channels=(8, 16, 32, 64))


@register_model
def resnet_micro_32(**kwargs: Any) -> nn.Module:
    return _resnet("resnet_micro_32", kwargs, channels=(16, 32, 64, 128))


@register_model
def convnext_nano_patch1_32(**kwargs: Any) -> nn.Module:
    """Strides 1 to 8, so that an image of 32 pixels has 16 cells to hide."""
    return _convnext("convnext_nano_patch1_32", kwargs, patch=1, depths=(1, 1, 2, 1), dims=(16, 32, 64, 128))


@register_model
def convnext_micro_32(**kwargs: Any) -> nn.Module:
    return _convnext("convnext_micro_32", kwargs, patch=4, depths=(1, 1, 2, 1), dims=(20, 40, 72, 112))


@register_model
def convnext_milli_32(**kwargs: Any) -> nn.Module:
    return _convnext("convnext_milli_32", kwargs, patch=2, depths=(2, 2, 4, 2), dims=(40, 80, 128, 224))


@register_model
def vit_nano_patch8_32(**kwargs: Any) -> nn.Module:
    return _vit("vit_nano_patch8_32", kwargs, patch=8, dim=32, depth=4, heads=2)


@register_model
def vit_micro_patch8_32(**kwargs: Any) -> nn.Module:
    return _vit("vit_micro_patch8_32", kwargs, patch=8, dim=48, depth=6, heads=3)


@register_model
def vit_micro_patch4_32(**kwargs: Any) -> nn.Module:
    return _vit("vit_micro_patch4_32", kwargs, patch=4, dim=48, depth=6, heads=3)


@register_model
def vit_milli_patch4_32(**kwargs: Any) -> nn.Module:
    return _vit("vit_milli_patch4_32", kwargs, patch=4, dim=128, depth=10, heads=4)


@register_model
def mixer_nano_patch8_32(**kwargs: Any) -> nn.Module:
    return _mixer("mixer_nano_patch8_32", kwargs, patch=8, dim=36, depth=4)


@register_model
def mixer_micro_patch8_32(**kwargs: Any) -> nn.Module:
    return _mixer("mixer_micro_patch8_32", kwargs, patch=8, dim=52, depth=6)


@register_model
def mixer_micro_patch4_32(**kwargs: Any) -> nn.Module:
    return _mixer("mixer_micro_patch4_32", kwargs, patch=4, dim=52, depth=6)


@register_model
def mixer_milli_patch4_32(**kwargs: Any) -> nn.Module:
    return _mixer("mixer_milli_patch4_32", kwargs, patch=4, dim=144, depth=10)

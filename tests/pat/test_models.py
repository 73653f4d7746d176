"""Models by name, teacher files and families."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from pat.config import ConfigError, Data
from pat.data import Split
from pat.models import (
    check_pretrained,
    create_model,
    create_student,
    create_teacher,
    family,
    has_batchnorm,
    normalisation,
    pretrained_file,
    sha256,
)
from pat.tasks.classification import evaluate
from tests import tiny
from tests.tags import MEAN, add_tag

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def test_initial_weights_are_a_function_of_the_seed() -> None:
    torch.manual_seed(1)
    first = create_student(tiny.VIT, 10, 32, seed=3)
    torch.manual_seed(2)
    second, other = create_student(tiny.VIT, 10, 32, seed=3), create_student(tiny.VIT, 10, 32, seed=4)
    weights = [m.state_dict()["blocks.0.attn.qkv.weight"] for m in (first, second, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_teacher_file(tmp_path: Path, suffix: str) -> None:
    source = create_student(tiny.BATCHNORM, 10, 32, seed=0)
    file = tmp_path / f"teacher.{suffix}"
    save_file(source.state_dict(), file) if suffix == "safetensors" else torch.save(source.state_dict(), file)
    teacher, digest = create_teacher(tiny.BATCHNORM, 10, 32, file, expected_sha256=sha256(file))
    assert digest == sha256(file) and not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    assert torch.equal(teacher.fc.weight, source.fc.weight)


def test_teacher_errors_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "teacher.safetensors"
    save_file(create_student(tiny.BATCHNORM, 100, 32, seed=0).state_dict(), file)
    junk = tmp_path / "junk.pth"
    junk.write_bytes(b"no weights")
    cases = [
        ((tiny.BATCHNORM, 10, 32, file), "has 100 classes, the data set has 10"),
        ((tiny.MLP, 100, 32, file), r"lacks weights .*\(\d+ in all\) and has the foreign weights .* in all\)"),
        (("resnet_micro_32", 100, 32, file), r"has .*weight of shape \(.*\), \(.*\) is needed"),
        ((tiny.BATCHNORM, 10, 32, tmp_path / "none.pth"), "cannot be read: No such file"),
        ((tiny.BATCHNORM, 10, 32, tmp_path), "cannot be read: Is a directory"),
        ((tiny.BATCHNORM, 10, 32, junk), "holds no readable weights"),
    ]
    for arguments, words in cases:
        with pytest.raises(ConfigError, match=words) as caught:
            create_teacher(*arguments)
        assert "\n" not in str(caught.value) and str(arguments[3]) in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        create_teacher(tiny.BATCHNORM, 100, 32, file, expected_sha256="00ff")
    assert "00ff" in str(caught.value) and sha256(file) in str(caught.value)


def biasless(**kwargs: Any) -> nn.Module:
    """A model whose head has no bias and a name of its own."""
    model = timm.create_model(tiny.BATCHNORM, **kwargs)
    model.fc = nn.Sequential(OrderedDict(classes=nn.Linear(model.num_features, model.num_classes, bias=False)))
    return model


@pytest.mark.parametrize(
    ("name", "size"),
    [("biasless", 32), ("levit_128s", 224), ("resnetv2_18", 32), ("mobilenetv3_small_050", 32), (tiny.VIT, 32)],
)
def test_another_number_of_classes_is_said_for_any_head(
    name: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(timm.models._registry._model_entrypoints, "biasless", biasless)
    torch.save(create_model(name, 7, size).state_dict(), tmp_path / "a.pth")
    with pytest.raises(ConfigError, match="has 7 classes, the data set has 10"):
        create_teacher(name, 10, size, tmp_path / "a.pth")


def first_release(name: str) -> str:
    """timm's name of a ConvNeXt weight as the model's first release had it."""
    for ours, theirs in (
        ("stem.", "downsample_layers.0."),
        (".conv_dw.", ".dwconv."),
        (".mlp.fc", ".pwconv"),
        ("head.norm.", "norm."),
        ("head.fc.", "head."),
    ):
        name = name.replace(ours, theirs)
    name = re.sub(r"stages\.(\d)\.blocks\.", r"stages.\1.", name)
    return re.sub(r"stages\.(\d)\.downsample\.", r"downsample_layers.\1.", name)


def test_files_of_a_first_release_are_translated(tmp_path: Path) -> None:
    source = create_model("convnext_atto", 10, 32).state_dict()
    theirs = {first_release(name): tensor for name, tensor in source.items()}
    assert not theirs.keys() & {name for name in source if "conv_dw" in name or name.startswith(("stem", "head.fc"))}
    torch.save({"model": theirs}, tmp_path / "a.pth")
    teacher, _ = create_teacher("convnext_atto", 10, 32, tmp_path / "a.pth")
    assert all(torch.equal(tensor, source[name]) for name, tensor in teacher.state_dict().items())
    with pytest.raises(ConfigError, match="has 10 classes, the data set has 5"):
        create_teacher("convnext_atto", 5, 32, tmp_path / "a.pth")
    theirs.popitem()
    torch.save(theirs, tmp_path / "a.pth")
    with pytest.raises(ConfigError, match="lacks weights .* and has the foreign weights"):
        create_teacher("convnext_atto", 10, 32, tmp_path / "a.pth")


def test_files_without_the_batch_counts_of_newer_torch(tmp_path: Path) -> None:
    state = create_model(tiny.BATCHNORM, 10, 32).state_dict()
    torch.save({key: value for key, value in state.items() if "num_batches" not in key}, tmp_path / "a.pth")
    create_teacher(tiny.BATCHNORM, 10, 32, tmp_path / "a.pth")


@pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="the trained weights are not beside the checkout")
def test_a_trained_network_scores_what_it_is_known_to_score() -> None:
    """56.6 % of the 500 images: 283 (measured elsewhere; resized by PIL to 128 px, no crop)."""
    with (SHARED / "cifar-100-mini" / "cifar-100-python" / "test").open("rb") as file:
        content = pickle.load(file, encoding="latin1")
    images = torch.from_numpy(np.asarray(content["data"], np.uint8).reshape(-1, 3, 32, 32))
    split = Split(images, torch.tensor(content["fine_labels"]))
    file = SHARED / "weights" / "mobilenetv3_small_100-cifar100.pth"
    teacher, _ = create_teacher("mobilenetv3_small_100", 100, 128, file)
    assert evaluate(teacher, split, Data("cifar100", 128), 100).score == pytest.approx(56.6)


@pytest.fixture
def local_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return add_tag(monkeypatch, tiny.BATCHNORM, tmp_path / "timm.pth")


def test_pretrained_weights_as_a_file(local_tag: str, tmp_path: Path) -> None:
    data = pretrained_file(local_tag, 10, 32)
    (tmp_path / "a").write_bytes(data)
    assert data == pretrained_file(local_tag, 10, 32)
    teacher, _ = create_teacher(local_tag, 10, 32, tmp_path / "a")
    source = create_student(tiny.BATCHNORM, 10, 32, seed=3)
    assert torch.equal(teacher.fc.weight, source.fc.weight) and normalisation(teacher)[0] == MEAN
    with pytest.raises(ConfigError, match="have 10 classes, the data set has 9"):
        pretrained_file(local_tag, 9, 32)
    (tmp_path / "timm.pth").unlink()
    with pytest.raises(ConfigError, match=f"with weights {local_tag}: .+") as caught:
        pretrained_file(local_tag, 10, 32)
    assert "\n" not in str(caught.value)


def test_tags_are_checked_without_a_network(local_tag: str) -> None:
    check_pretrained(tiny.BATCHNORM, local_tag)
    check_pretrained("resnet18", "resnet18.a1_in1k")
    check_pretrained("resnet18.a2_in1k", "resnet18.a1_in1k")
    for name, tag, words in (
        (
            "resnet18",
            "resnet18.a1_in2k",
            "unknown timm weights .* of 'resnet18'; did you mean .*a1_in1k",
        ),
        ("resnet18", "resnet18", r"needed are timm:resnet18.<tag>"),
        (
            "resnet34",
            "resnet18.a1_in1k",
            r"'resnet34': weights .*resnet18.a1_in1k', needed are timm:resnet34.<tag>",
        ),
        (tiny.VIT, f"{tiny.VIT}.untrained", "unknown timm weights"),
        ("resnet_18", "resnet_18.a", "unknown teacher 'resnet_18'; did you mean"),
    ):
        with pytest.raises(ConfigError, match=words):
            check_pretrained(name, tag)


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown model 'resnet_nano'; did you mean .*resnet_nano_32"):
        create_model("resnet_nano", 10, 32)
    with pytest.raises(ConfigError, match="cannot be built for 30x30 px"):
        create_model("twins_svt_small", 10, 30)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", "cnn"),
        ("mobilenetv2_100", "cnn"),
        ("convnext_tiny", "cnn"),
        ("swin_tiny_patch4_window7_224", "vit"),
        ("swin_pico_patch4_window7_224", "vit"),
        ("deit_tiny_patch16_224", "vit"),
        ("mixer_b16_224", "mlp"),
        ("resmlp_12_224", "mlp"),
        (tiny.CNN, "cnn"),
        (tiny.VIT, "vit"),
        (tiny.MLP, "mlp"),
    ],
)
def test_families(name: str, expected: str) -> None:
    assert family(name) == expected


def test_papers_students_are_registered() -> None:
    """Parameter counts of the papers: Swin-P 5.16 M, Swin-N 9.14 M at 100 classes."""
    for name, millions in (("swin_pico_patch4_window7_224", 5.16), ("swin_nano_patch4_window7_224", 9.14)):
        model = timm.create_model(name, num_classes=100)
        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)
    assert has_batchnorm(create_model(tiny.BATCHNORM, 10, 32)) and not has_batchnorm(create_model(tiny.VIT, 10, 32))

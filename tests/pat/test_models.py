"""Models by name, teacher files and families."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from pat.config import ConfigError
from pat.models import create_model, create_student, create_teacher, family, has_batchnorm, sha256
from tests import tiny


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
        ((tiny.MLP, 100, 32, file), "lacks weights"),
        ((tiny.BATCHNORM, 10, 32, tmp_path / "none.pth"), "cannot be read: No such file"),
        ((tiny.BATCHNORM, 10, 32, junk), "holds no readable weights"),
    ]
    for arguments, words in cases:
        with pytest.raises(ConfigError, match=words) as caught:
            create_teacher(*arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        create_teacher(tiny.BATCHNORM, 100, 32, file, expected_sha256="00ff")
    assert "00ff" in str(caught.value) and sha256(file) in str(caught.value)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"weight": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(ConfigError, match="holds no readable weights"):
        create_teacher(tiny.BATCHNORM, 10, 32, tmp_path / "harmful.pth")
    assert not (tmp_path / "ran").exists()


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

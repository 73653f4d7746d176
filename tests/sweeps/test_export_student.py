"""A student for others: timm opens it, a program runs without this package, and what is lacking is one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file

from analysis import read_runs
from sweeps.__main__ import main
from sweeps.commands.train import main as train
from sweeps.looking import export_student
from sweeps.looking.chosen import best
from tests.pat.folders import make

STUDENT = "vit_nano_patch8_32"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What `train` keeps of one short run."""
    place = tmp_path_factory.mktemp("export")
    make(place / "set", {"train": 6, "test": 2})
    short = ["--epochs", "1", "--batch-size", "8", "--image-size", "32", "--storage", str(place)]
    assert train([*short, "--student", STUDENT, "--method", "scratch", "--data", str(place / "set")]) == 0
    yield place / "train"


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def logits(storage: Path, images: torch.Tensor) -> Any:
    (run,) = best(storage).to_dict("records")
    model = timm.create_model(STUDENT, num_classes=3).eval()
    model.load_state_dict(load_file(run["file"]))
    return model(images).detach()


def test_a_folder_for_timm_and_the_hub(
    storage: Path, images: torch.Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "hub"
    assert main(["export", str(storage), "hub", f":{STUDENT}:scratch", "--to", str(target)]) == 0
    assert {path.name for path in target.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert str(target) in capsys.readouterr().out
    text = (target / "README.md").read_text()
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", text, re.S)[0], names)
    torch.testing.assert_close(names["model"](images), logits(storage, images))
    assert names["transform"] is not None and "ant, bee, cat" in text and "\nlibrary_name: timm\n" in text
    about = json.loads((target / "config.json").read_text())
    assert (
        f"Top-1 accuracy {about['pat']['score']['test']:.2f} on 6 test images (always the same answer: 33.33)" in text
    )


def test_a_program_of_torch_alone(
    storage: Path, images: torch.Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_id,) = read_runs(storage)["run_id"]
    file, given, found = (tmp_path / name for name in ("student.pt2", "images.pt", "logits.pt"))
    assert (
        main(["export", str(storage), "torch", run_id, "--to", str(file)]) == 0 and str(file) in capsys.readouterr().out
    )
    torch.save(images, given)
    code = (
        "import sys, torch; program = torch.export.load(sys.argv[1]).module(); "
        "torch.save(program(torch.load(sys.argv[2])), sys.argv[3]); "
        "assert not {'timm', 'pat', 'sweeps'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, file, given, found], check=True, timeout=120, cwd=tmp_path)
    torch.testing.assert_close(torch.load(found), logits(storage, images), rtol=1e-4, atol=1e-5)


def test_onnx(storage: Path, images: torch.Tensor, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    file = tmp_path / "student.onnx"
    assert main(["export", str(storage), "onnx", f":{STUDENT}:scratch", "--to", str(file)]) == 0
    (found,) = runtime.InferenceSession(str(file)).run(None, {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), logits(storage, images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("export onnx: needs onnx and onnxscript: pip install onnx onnxscript", ["onnx", f":{STUDENT}:scratch"]),
        (
            f"'a:b:c': a cell as teacher:student:method, or the id of a finished run; here are :{STUDENT}:scratch",
            ["hub", "a:b:c"],
        ),
        ("--to: optuna is written to search.log", ["optuna", "search.log", "--to", "x"]),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    storage: Path,
    words: str,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export_student, "find_spec", lambda name: None)
    assert main(["export", str(storage), *arguments]) == 2
    assert capsys.readouterr().err == f"error: {words}\n"


def test_what_torch_cannot_export_is_one_line(
    storage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*args: object, **rest: object) -> None:
        raise RuntimeError("data-dependent control flow\nat great length")

    monkeypatch.setattr(torch.export, "export", refusing)
    command = ["export", str(storage), "torch", f":{STUDENT}:scratch", "--to", str(tmp_path / "student.pt2")]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error == "error: export torch: torch cannot export this model: data-dependent control flow\n"
    assert main([*command, "--import", "no_such_module"]) == 2
    assert capsys.readouterr().err.startswith("error: module 'no_such_module' cannot be imported: ")

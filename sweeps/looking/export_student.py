"""A student for others: a folder for the Hugging Face hub and timm, an ONNX file, a program of torch.export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from analysis.metrics import METRICS
from analysis.schema import LedgerError
from analysis.words import counted
from pat.kept import CONFIG
from pat.resolve import list_models

CARD = """\
---
library_name: timm
tags:
- image-classification
- timm
- knowledge-distillation
pipeline_tag: image-classification
---
# {architecture}, {how}

{score}

```python
{imports}import timm

model = timm.create_model("local-dir:{place}", pretrained=True).eval()
data = timm.data.resolve_data_config(pretrained_cfg=model.pretrained_cfg)
transform = timm.data.create_transform(**data)  # a PIL image -> what the model takes
```

- Images: {data}.
- Input: {size} px, mean {mean}, standard deviation {std}, {crop:.0%} of the middle, {interpolation}.
- Classes: {classes}.
- Run {run_id}, seed {seed}, {epochs}; `config.json` holds its whole configuration.
"""


def export_hub(folder: Path, row: Mapping[str, Any], target: Path) -> str:
    """`target`/{config.json, model.safetensors, README.md}: what `timm.create_model("local-dir:…")` opens, and what
    can be pushed to the hub as it is. Gives a line that says so."""
    about = described(folder, row)
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.safetensors").write_bytes(Path(row["file"]).read_bytes())
    (target / CONFIG).write_text(json.dumps(about, indent=1) + "\n")
    (target / "README.md").write_text(card(about, row, target))
    opens = f"timm.create_model('local-dir:{target}', pretrained=True)"
    return f"{target}/: config.json, model.safetensors, README.md; {opens}"


def export_onnx(folder: Path, row: Mapping[str, Any], target: Path) -> str:
    """An ONNX file of any batch: images float32 [N, 3, H, W] -> logits [N, C]. Raises LedgerError without the packages
    that torch needs for it."""
    lacking = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if lacking:
        raise LedgerError(f"export onnx: needs {' and '.join(lacking)}: pip install onnx onnxscript")
    model, images, dynamic = _ready(folder, row)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _refusing("onnx"):
        torch.onnx.export(
            model, (images,), str(target), input_names=["images"], output_names=["logits"], dynamic_shapes=dynamic,
            dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
    return f"{target}: images {_shape(images)} -> logits"


def export_torch(folder: Path, row: Mapping[str, Any], target: Path) -> str:
    """A program of `torch.export` of any batch, which runs without timm and without this package."""
    model, images, dynamic = _ready(folder, row)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _refusing("torch"):
        torch.export.save(torch.export.export(model, (images,), dynamic_shapes=dynamic), str(target))
    return f"{target}: torch.export.load({str(target)!r}).module()(images), images {_shape(images)}"


@contextmanager
def _refusing(form: str) -> Iterator[None]:
    """What torch cannot export is one line: it raises many kinds, at length."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise LedgerError(f"export {form}: torch cannot export this model: {reason}") from error


def described(folder: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    """The `config.json` of a run's student. Raises LedgerError where there is none that timm could read."""
    path = folder / "runs" / row["run_id"] / CONFIG
    try:
        about: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LedgerError(f"{str(path)!r}: no configuration of a student; runs have one since this release") from error
    if "architecture" not in about:
        raise LedgerError(f"run {row['run_id']}: {_why_not(about['pat']['config'])}")
    found = hashlib.sha256(Path(row["file"]).read_bytes()).hexdigest()
    if found != about["pat"]["sha256"]:
        raise LedgerError(f"{row['file']!r} has SHA-256 {found}, its run exported {about['pat']['sha256']}")
    return about


def _why_not(config: Mapping[str, Any]) -> str:
    """Why a student has no configuration that timm could read."""
    if "task" in config:
        return "only classifiers that are timm's models can be exported"
    return (
        f"{config['student']!r} has no record of timm's (a pretrained_cfg: size, mean and std of its input), without "
        "which nobody could use what is exported; register it with one (docs/own-model.md), or take student.safetensors"
    )


def opened(folder: Path, row: Mapping[str, Any]) -> nn.Module:
    """The student as timm's model, in eval mode."""
    described(folder, row)
    list_models()  # registers those of this package
    model: nn.Module = timm.create_model(f"local-dir:{folder / 'runs' / row['run_id']}", pretrained=True)
    return model.eval()


def card(about: Mapping[str, Any], row: Mapping[str, Any], target: Path) -> str:
    """The model card: what it is, what it scores and on what, how to open it."""
    run, seen = about["pat"], about["pretrained_cfg"]
    config, metric = run["config"], METRICS[run["metric"]]
    teacher, method = config.get("teacher"), config["method"]["name"]
    how = f"distilled from {teacher['name']} with {method}" if teacher else f"trained with method {method}"
    score = f"{metric.name.capitalize()} {run['score']['test']:.2f} on {run['test_images']} test images"
    score += f" (always the same answer: {run['chance']:.2f})" if run["chance"] is not None else ""
    score += f"; its teacher {run['teacher_score']:.2f}" if run["teacher_score"] is not None else ""
    module = timm.model_entrypoint(about["architecture"]).__module__
    names = run["classes"]
    return CARD.format(
        architecture=about["architecture"],
        how=how,
        score=f"{score}.",
        imports="" if module.startswith("timm.") else f"import {module}  # which registers the model\n",
        place=target,
        data=run["data"],
        size=" x ".join(map(str, seen["input_size"][1:])),
        mean=tuple(round(x, 4) for x in seen["mean"]),
        std=tuple(round(x, 4) for x in seen["std"]),
        crop=seen["crop_pct"],
        interpolation=seen["interpolation"],
        classes=", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "by number",
        run_id=run["run_id"],
        seed=config["seed"],
        epochs=counted(config["recipe"]["epochs"], "epoch"),
    )


def _ready(folder: Path, row: Mapping[str, Any]) -> tuple[nn.Module, torch.Tensor, tuple[dict[int, Any]]]:
    """The model, images of its size, and that their number may vary."""
    model, size = opened(folder, row), described(folder, row)["pretrained_cfg"]["input_size"]
    return model, torch.zeros(2, *size), ({0: torch.export.Dim("batch", min=1)},)


def _shape(images: torch.Tensor) -> str:
    return f"[N, {', '.join(map(str, images.shape[1:]))}]"

"""Walks over timm's CNNs: is each one exact as a sparse encoder? By the island oracle; one JSON line a name. By hand.

    python -m tests.pat.walk_sparse RESULTS.jsonl [NAME ...]

Names already in the file are not done again. A model is refused where its island is not exact, or it has no four
stages; it would be wrong if it were let through and another test of it failed (`wrong`: all visible is not dense, or
a hole is read).
"""

from __future__ import annotations

import json
import re
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import timm
import torch

from pat.islands import ISLAND_IMAGE, find_leak
from pat.models import create_model, family_of
from pat.sparse import Sparse, Visible
from pat.taps import StageTaps
from tests.pat.walk import LARGEST_RUN, alarm, read, reason, without_zeros

SECONDS = 300


def examine(name: str) -> dict[str, Any]:
    """`refused`: why it cannot be sparse, empty where it can; `wrong`: what is not as it should be although it can."""
    row: dict[str, Any] = {"name": name, "refused": "", "wrong": "", "family": ""}
    started = time.process_time()
    with torch.device("meta"):
        outline = timm.create_model(name)
    row["family"] = family_of(outline)
    if row["family"] != "cnn":
        return row
    if sum(weight.numel() for weight in outline.parameters()) > LARGEST_RUN:
        return row | {"refused": "too large to be tried here"}
    try:
        with alarm(SECONDS):
            sparse = Sparse(StageTaps(create_model(name, 0, ISLAND_IMAGE), ISLAND_IMAGE))
            row["refused"] = find_leak(sparse) or find_leak(sparse, train=False)
            if not row["refused"]:
                row["wrong"] = wrong(sparse)
    except Exception as error:
        row["refused"] = reason(error)
    return row | {"seconds": round(time.process_time() - started, 1)}


@torch.no_grad()
def wrong(sparse: Sparse) -> str:
    """What a model that was let through gets wrong: in float32, in eval mode."""
    without_zeros(sparse.taps.model.eval())
    grid = (2, 2)
    images = torch.randn(1, 3, *(side * sparse.cell for side in grid))
    plain, same = sparse.taps(images).maps, sparse(images, Visible(torch.arange(4)[None], grid)).maps
    for one, other in zip(plain, same, strict=True):
        if not torch.allclose(one, other, rtol=0, atol=1e-4 * float(one.abs().max())):
            return "all visible is not dense"
    some = Visible(torch.tensor([[1]]), grid)
    holes = images.masked_fill(some.hidden((images.shape[2], images.shape[3])), torch.nan)
    pairs = zip(sparse(images, some).maps, sparse(holes, some).maps, strict=True)
    return "" if all(torch.equal(some.gathered(a), some.gathered(b)) for a, b in pairs) else "a hole is read"


def summary(rows: list[dict[str, Any]]) -> str:
    """Shares of the CNNs, then the reasons of refusals with how many each has."""
    cnns = [row for row in rows if row["family"] == "cnn"]
    exact = [row for row in cnns if not row["refused"]]
    kinds = Counter(re.sub(r"'[^']*' ", "", row["refused"])[:90] for row in cnns if row["refused"])
    lines = [f"{len(cnns)} CNNs: {len(exact)} exact, {len(cnns) - len(exact)} refused"]
    lines += [f"wrong: {row['name']}: {row['wrong']}" for row in exact if row["wrong"]] or ["none wrong"]
    return "\n".join([*lines, *(f"{count:5d}  {kind}" for kind, count in kinds.most_common())])


def main(results: Path, names: list[str]) -> None:
    """Walks over `names` (all, if none is given), adds a line for each to `results`, and sums up."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    done = {row["name"] for row in read(results)}
    for name in names or timm.list_models():
        if name not in done:
            with results.open("a") as file:
                file.write(json.dumps(examine(name)) + "\n")
    print(summary(read(results)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

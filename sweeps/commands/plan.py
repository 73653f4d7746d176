"""What a study would do and cost (`--plan`): nothing is trained, and nothing kept but what was probed."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack, suppress
from pathlib import Path

import torch

from pat.config import ConfigError
from pat.data import load
from sweeps.commands.flags import most, needs_gpu
from sweeps.costs.devices import Devices, cluster_devices, local_devices, slow_precision
from sweeps.costs.expect import images_of
from sweeps.costs.plan_text import plan_text
from sweeps.costs.planned import plan_facts, planner_of
from sweeps.engine.texts import changed, changed_lines
from sweeps.fitting import check_fit
from sweeps.given import say_scores
from sweeps.meanwhile import still, tell, whisper
from sweeps.places import data_place, storage_place
from sweeps.planning.view import read_view
from sweeps.started import address
from sweeps.store import grown_study, study_folder
from sweeps.study import Study
from sweeps.teachers import recorded


def plan(asked: Study, flags: argparse.Namespace) -> int:
    """Say what the study would do and cost. Probes where there are devices for it, and keeps the probes alone."""
    where = address(flags.address)
    from sweeps.engine.cluster import ray_running

    folder = study_folder(storage_place(flags.storage, where != "local"), asked)
    grown = grown_study(folder, asked)
    study = recorded(grown, folder)
    known = read_view(folder, ())  # what is damaged is said before anything is probed
    for line in changed_lines(folder, changed(folder)):
        whisper(line)
    root = data_place(flags.data_root, flags.stage, where != "local").unstaged()
    if images := images_of(study.data, root):
        check_fit(grown, asked, folder, images.classes, whisper)
    for_gpus = needs_gpu(flags)
    devices = Devices("", for_gpus, 0, study.gpu_share or 1.0)
    with suppress(ConfigError):  # without its data a plan makes do
        say_scores(asked, folder, lambda: load(study.data, root), whisper if flags.json else tell)
    complete = bool(known) and planner_of(study, asked, folder, for_gpus)[0].complete  # then nothing is probed
    with ExitStack() as stack:
        if where != "local" and not complete:
            stack.enter_context(ray_running(where, flags.verbose))
            devices = cluster_devices(study, folder, root, whisper)
        elif not complete and (torch.cuda.is_available() or not for_gpus) and _is_here(study, root):
            devices = local_devices(study, folder, root, whisper)
    if line := slow_precision(study, devices):
        whisper(line)
    given = {**vars(devices), "price": flags.price, "keep": flags.keep, "most": most(flags), "data_root": root}
    given |= {"say": whisper}
    with still("planning"):
        text = (
            json.dumps(plan_facts(study, asked, folder, **given), indent=1)
            if flags.json
            else plan_text(study, asked, folder, **given)
        )
    print(text)
    return 0


def _is_here(study: Study, root: Path) -> bool:
    """Whether the data set can be read; if not, a plan makes do without probes."""
    try:
        load(study.data, root)
    except ConfigError as error:
        whisper(f"no probes: {error}")
        return False
    return True

"""Models whose BatchNorm sees only a part of the batch, which is then part of what a run is."""

from __future__ import annotations

from pat.models import has_batchnorm
from pat.tasks import create_task
from sweeps.planning.units import keys, trained_on
from sweeps.study import Study
from sweeps.teacher_seeds import model_of


def unsynced_models(study: Study, gpus: bool) -> frozenset[str]:
    """Models whose BatchNorm sees only one worker's share of the batch: several workers without GPUs."""
    several = not isinstance(study.workers, int) or study.workers > 1
    if gpus or not several:
        return frozenset()
    models = {(model_of(key.cell.student), trained_on(study, key)) for key in keys(study)}
    made = ((name, create_task(*on, num_classes=2).student(name, seed=0)) for name, on in models)
    return frozenset(name for name, model in made if has_batchnorm(model))

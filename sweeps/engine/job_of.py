"""What a process needs to train a segment, out of what the driver knows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sweeps.configs import teacher_name
from sweeps.engine.jobs import Job, student_path
from sweeps.engine.kept import outlives
from sweeps.engine.patience import patience
from sweeps.engine.siblings import initial_weights
from sweeps.planning.units import Segment
from sweeps.settings import RECIPE
from sweeps.study import TeacherFile
from sweeps.teacher_seeds import model_of
from sweeps.teachers import local_file

if TYPE_CHECKING:
    from sweeps.engine.driver import Driver


def job_of(driver: Driver, segment: Segment) -> Job:
    """What a process needs to train the segment."""
    config, teacher_file, sha256 = segment.config, "", ""
    if config.teacher is not None:
        source = driver.study.teachers[segment.cell.teacher]
        if isinstance(source, TeacherFile):
            teacher_file, sha256 = str(local_file(source, driver.folder)), source.sha256
        else:
            run_id = config.teacher.weights.removeprefix("run:")
            teacher_file = str(student_path(driver.folder, run_id))
            sha256 = driver.planner.view[run_id].student_sha256
    initial, initial_sha256 = initial_weights(driver.folder, driver.planner, config.initial)
    losses = driver.health.runs[segment.run_id]
    return Job(
        folder=str(driver.folder),
        study=driver.study.name,
        config=config.to_json(),
        until=segment.until,
        phase=segment.phase,
        student_family=driver.families[segment.cell.student],
        teacher_family=driver.families[segment.cell.teacher] if config.teacher else "",
        data_root=str(driver.data_root),
        data_source=driver.data_source,
        initial_file=initial,
        initial_sha256=initial_sha256,
        teacher_file=teacher_file,
        teacher_sha256=sha256,
        workers=driver.study.workers_of(segment.cell.method),
        retries=losses.retries,
        preemptions=losses.preemptions,
        keep_student=outlives(driver.keep, segment.phase),
        trial=segment.trial,
        named=_named(driver, segment),
        avoid=tuple((*place,) for place in driver.health.avoided(segment.run_id)),
        closed=tuple((*place, left) for place, left in driver.health.closed(time.time()).items()),
        patience=patience(driver.planner.speeds, segment.key),
    )


def _named(driver: Driver, segment: Segment) -> dict[str, str]:
    """Columns of a run that only trains on what its method has pre-trained: it is one of that method's. Where the
    recipe is searched, the setting has more than the method's options. A teacher's name says its further seed."""
    cell, study = segment.cell, driver.study
    if segment.phase in ("teacher", "pretrain"):
        return {} if model_of(cell.student) == cell.student else {"student": cell.student}
    further = {} if model_of(cell.teacher) == cell.teacher else {"teacher": cell.teacher}
    if cell.method == segment.config.method.name:
        return further | ({"options": segment.run.setting} if RECIPE in study.spaces else {})
    taught = {"teacher": teacher_name(study, cell), "teacher_family": driver.families.get(cell.teacher, "")}
    return {"method": cell.method, "options": segment.run.setting, **(taught if cell.teacher else {}), **further}

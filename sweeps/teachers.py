"""Teachers that are not trained here, and the weights that training starts from - files, URLs, timm's tags - as files
that every machine of a study sees.

Only the process that starts a study fetches, once, into the folder `teachers/`; workers read files and verify them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path, PurePosixPath

from analysis import ledger, storage
from analysis.schema import LedgerError
from pat.config import ConfigError
from pat.models import native_file, pretrained_file
from pat.tasks import Task, create_task
from pat.weights import download, is_url
from sweeps.configs import teacher_run
from sweeps.study import TIMM, Study, TeacherFile
from sweeps.teacher_file import restriction

FOLDER, RECORD = "teachers", "tags.json"


def recorded(study: Study, folder: Path) -> Study:
    """The study with the SHA-256 of every tag that its folder has recorded. Reads one small file, needs no network."""
    given = study.given_teachers().items()
    known = {name: _known(source, folder, study.taught(name)[1].image_size) for name, source in given}
    return replace(study, teachers={**study.teachers, **known})


def resolve_used(study: Study, folder: Path, num_classes: int) -> None:
    """`resolve` for every teacher that the pairs of the study use."""
    for name, source in _used(study).items():
        resolve(source, folder, create_task(*study.taught(name), num_classes))


def provide_used(study: Study, folder: Path, num_classes: int, elsewhere: Collection[str] = ()) -> None:
    """`provide` for every teacher that the pairs of the study use, which are resolved; and timm's weights that the
    training of the others and of the students starts from, a teacher's as long as it has not ended, here or (its
    run_id) `elsewhere`."""
    for name, source in _used(recorded(study, folder)).items():
        provide(name, source, folder, create_task(*study.taught(name), num_classes))
    teachers = {name: teacher_run(study, name) for name in study.used_teachers()}
    trained = {name: run.run_id for name, run in teachers.items() if run is not None}
    left = [name for name, run in trained.items() if run not in elsewhere and ledger.read_run(folder, run) is None]
    for key in (*left, *(f":{name}" for name in study.used_students())):
        if (weights := study.starts_from(key)).startswith(TIMM):
            provide_initial(weights.removeprefix(TIMM), folder)


def initial_file(name: str, folder: Path) -> Path:
    """Where the weights of a timm tag, as timm has them, or of a run lie for training that starts from them."""
    return folder / FOLDER / f"initial-{name}.safetensors"


def initial_sha256(name: str, folder: Path) -> str:
    """What the bytes of this file must hash to, as the study began with them; empty where it has none yet."""
    return _read_record(folder).get(initial_file(name, folder).name, "")


def keep_initial(name: str, folder: Path, data: bytes, what: str) -> None:
    """Keep weights for training that starts from them. Raises ConfigError for others than this folder had before."""
    path, digest = initial_file(name, folder), hashlib.sha256(data).hexdigest()
    known = initial_sha256(name, folder) or digest
    if known != digest:
        raise ConfigError(f"{what} now have SHA-256 {digest}, but this study began with {known}")
    _write_record(folder, path.name, digest)
    storage.write_file(path.parent, path.name, data)


def provide_initial(tag: str, folder: Path) -> None:
    """timm's weights of a tag, as they are, as a file of this folder.

    Raises ConfigError where timm cannot give them, or gives others than this folder had before.
    """
    if not initial_file(tag, folder).exists():
        print(f"fetching timm's weights {tag}", flush=True)
        keep_initial(tag, folder, native_file(tag), f"timm's weights {tag!r}")


def resolve(source: TeacherFile, folder: Path, task: Task) -> TeacherFile:
    """The same teacher with its SHA-256: that of a tag is recorded, or fetched from timm and then recorded.

    Raises ConfigError where timm cannot give the weights, or they have other classes.
    """
    known = _known(source, folder, task.data.image_size)
    if known.sha256:
        return known
    digest = _fetch_tag(source, folder, task)
    _write_record(folder, _key(source, task.data.image_size), digest)
    return replace(source, sha256=digest)


def provide(name: str, source: TeacherFile, folder: Path, task: Task) -> Path:
    """The file of a resolved teacher, fetched if it is not here yet, once it was tried whether it fits model `name`.

    Raises ConfigError, one line, for what cannot be fetched, has other bytes, other weights or another head.
    """
    path = local_file(source, folder)
    if source.tag and not path.exists():
        _fetch_tag(source, folder, task)
    else:
        fetch(f"teacher {name}", source, folder)
    task.trained(source.tag or name, path, source.sha256)
    return path


def fetch(what: str, source: TeacherFile, folder: Path) -> Path:
    """The file of weights that lie at a URL, fetched if it is not here yet, or that the user has. ConfigError as
    `provide`."""
    path = local_file(source, folder)
    if is_url(source.path) and not path.exists():
        print(f"fetching {what} from {source.path}", flush=True)
        download(source.path, path, source.sha256)
    return path


def local_file(source: TeacherFile, folder: Path) -> Path:
    """Where the weights lie: under their SHA-256 in the study's folder, or where the user has them."""
    if source.tag:
        return folder / FOLDER / f"{source.sha256}.safetensors"
    if is_url(source.path):
        return folder / FOLDER / (source.sha256 + PurePosixPath(source.path.partition("?")[0]).suffix)
    return Path(source.path).expanduser().absolute()


def _used(study: Study) -> dict[str, TeacherFile]:
    given = study.given_teachers()
    return {name: given[name] for name in study.used_teachers() if name in given}


def _fetch_tag(source: TeacherFile, folder: Path, task: Task) -> str:
    """Writes timm's weights of a tag under their SHA-256, which is returned."""
    limited = restriction(source.tag)
    print(f"fetching timm's weights {source.tag}{f', licence: {limited}' if limited else ''}", flush=True)
    try:
        data = pretrained_file(source.tag, None if task.own_methods else task.num_classes, task.data.image_size)
    except ConfigError as error:
        raise ConfigError(f"{error}; a file can be given instead: its path and SHA-256") from error
    digest = hashlib.sha256(data).hexdigest()
    if source.sha256 not in ("", digest):
        raise ConfigError(
            f"timm's weights {source.tag!r} now have SHA-256 {digest}, but {source.sha256} is expected; "
            f"needed is the file {str(local_file(source, folder))!r}"
        )
    storage.write_file(folder / FOLDER, f"{digest}.safetensors", data)
    return digest


def _known(source: TeacherFile, folder: Path, image_size: int) -> TeacherFile:
    """`source` with the recorded SHA-256 of its tag, if there is a tag and a record."""
    if source.sha256:
        return source
    return replace(source, sha256=_read_record(folder).get(_key(source, image_size), ""))


def _key(source: TeacherFile, image_size: int) -> str:
    """timm fits weights to the image size, so that one tag is a file for each size."""
    return f"{source.tag} {image_size}px"


def _write_record(folder: Path, key: str, digest: str) -> None:
    record = {**_read_record(folder), key: digest}
    storage.write_file(folder / FOLDER, RECORD, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())


def _read_record(folder: Path) -> dict[str, str]:
    """Tag and size -> SHA-256, as this folder has them; empty where it has none yet."""
    try:
        text = storage.read_file(folder / FOLDER, RECORD)
        record = {} if text is None else json.loads(text)
        return {str(key): str(value) for key, value in record.items()}
    except (LedgerError, ValueError, AttributeError) as error:
        raise ConfigError(f"{str(folder / FOLDER / RECORD)!r} cannot be read: {str(error).splitlines()[0]}") from error

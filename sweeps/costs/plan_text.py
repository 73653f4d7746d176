"""What a study would do and cost, as text: phases, pairs by their exact names, times, memory, disk, days, money."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from analysis.live import read_driver
from analysis.words import counted
from sweeps.costs.expect import Expected
from sweeps.costs.forecast import Forecast
from sweeps.costs.planned import planned
from sweeps.engine.kept import KEEP, Keep
from sweeps.engine.siblings import Found
from sweeps.looking.words import number, size, span
from sweeps.planning.planner import Planner
from sweeps.planning.units import ENDED, Key, keys, trained_teachers
from sweeps.study import CLASSIFICATION, SCRATCH, TIMM, Cell, Study, TeacherFile
from sweeps.teacher_file import restriction

CLUSTERS = (1, 8, 64)
"""Numbers of devices for which the days are said where there is no cluster yet."""


def plan_text(
    study: Study, asked: Study, folder: Path, *, price: float | None = None, keep: Keep = "all", **given: Any
) -> str:
    """`planned` as text. `price`: money for a device-hour."""
    planner, expected, found, adopted = planned(study, asked, folder, **given)
    share, word = given.get("share", 1.0), device_word(study, given.get("gpus", False))
    parts = [
        _head(planner.scope),
        _phases(found),
        _pairs(planner, asked),
        _adopted(adopted),
        _costs(planner, expected, share),
        [sources(found, expected)],
        _together(expected),
        _clock(found, word),
        _disk(found, keep),
        _unfit(found),
        _closed(folder),
        [summary(found, word, price, keep)],
    ]
    return "\n".join(line for part in parts for line in part)


def _closed(folder: Path) -> list[str]:
    """What a driver that works on the study now says of its devices."""
    driver = read_driver(folder)
    return driver.closed() if driver is not None and driver.alive else []


def device_word(study: Study, gpus: bool) -> str:
    """What a device of a study is called."""
    return "GPU" if gpus else f"slot of {counted(study.threads, 'CPU')}"


def _head(study: Study) -> list[str]:
    data, search = study.data, study.search
    rungs = ", ".join(f"{share:.3g}" for share in search.rungs)
    halving = (
        f"{search.trials} trials a cell in waves of {search.wave}, "
        f"1/{search.eta} kept after each rung ({rungs} of a run), proposed by {search.sampler}"
        f"{' around the default, which is never pruned' if search.prior and search.keep_default else ''}"
    )
    learnt = "" if study.task.name == CLASSIFICATION else f"{study.task.name}, "
    methods = ", ".join((SCRATCH, *study.methods))
    sizes = ", ".join(f"{name} {size} px" for name, size in study.teacher_sizes.items())
    own = f" (teachers of their own size: {sizes})" if sizes else ""
    return [
        f"study {study.name}: {learnt}data {data.name} at {data.image_size} px{own}, methods {methods}",
        *_before(study),
        f"search: {halving if search.trials else 'none'}",
        f"confirmation: {'best and default setting' if search.trials else 'default setting'} on "
        f"{counted(len(study.confirming), 'fresh seed')}; workers per run: {study.workers}",
        *(
            [f"exchange: each best setting also in {study.exchange} more of its method's cells"]
            if study.exchange
            else []
        ),
        "",
    ]


def _before(study: Study) -> list[str]:
    """What is pre-trained, and teachers whose weights are not free for all uses."""
    tags = [source.tag for source in study.given_teachers().values() if source.tag]
    lines = [f"licence of timm's weights {tag}: {licence}" for tag in tags if (licence := restriction(tag))]
    if (before := study.pretraining) is None:
        return lines
    recipe, data = before.recipe, before.data
    each = f"once a {'setting' if study.search.trials else 'cell'} of {', '.join(before.methods)}"
    what = f"{counted(recipe.epochs, 'epoch')} on {data.name} at {data.image_size} px, {each}"
    return [f"pre-training: {what}; longer is scratch for {before.longer:g} times the epochs", *lines]


def _phases(found: Forecast) -> list[str]:
    """A table: phase, runs, of them ended, epochs before pruning, device-hours."""
    lines = [
        f"{'':33}   device-hours",
        f"{'phase':8}{'runs':>7}{'done':>7}{'epochs':>11}{'before pruning':>17}{'after':>9}{'done':>9}{'left':>9}",
    ]
    for phase in (*found.phases, found.total):
        hours = f"{number(phase.before):>17}{number(phase.expected):>9}{number(phase.done):>9}{number(phase.left):>9}"
        lines.append(f"{phase.name:8}{phase.runs:7,}{phase.ended:7,}{phase.epochs:11,}{hours}")
    return [*lines, ""]


def _place(weights: str | TeacherFile) -> str:
    return weights.path if isinstance(weights, TeacherFile) else weights.removeprefix(TIMM)


def _pairs(planner: Planner, asked: Study) -> list[str]:
    """Every pair by its exact names, and once something has ended, how many runs of each cell."""
    lines = [f"{counted(len(asked.pairs), 'pair')}, {counted(len(asked.cells()), 'cell')}"]
    lines += [f"{place:3}. {teacher} -> {student}" for place, (teacher, student) in enumerate(asked.pairs, start=1)]
    wanted = trained_teachers(asked)
    starts, students = (
        [f"{name} ({_place(asked.initial[key])})" for key, name in keyed if key in asked.initial]
        for keyed in (((name, name) for name in wanted), ((f":{name}", name) for name in asked.used_students()))
    )
    given = [f"{name} ({asked.given_teachers()[name].path})" for name in asked.used_teachers() if name not in wanted]
    notes = {"teachers start from": starts, "students start from": students, "teachers not trained here:": given}
    lines += [f"{text} {', '.join(names)}" for text, names in notes.items() if names] + [""]
    if not planner.counts()[0]:
        return lines

    def done(key: Key) -> str:
        unit = planner.units[key]
        ended = sum(status in ENDED for status in unit.runs.values())
        return f"{ended}/{len(unit.runs) + unit.unknown_runs}"

    return lines + _matrix(planner.scope, "runs done", done)


def _adopted(runs: Sequence[tuple[Key, Found]]) -> list[str]:
    texts = [f"{key.cell.student} (study {run.folder.name!r})" for key, run in runs]
    return [f"finished elsewhere, to be adopted: {', '.join(texts)}", ""] if texts else []


def _costs(planner: Planner, expected: Expected, share: float) -> list[str]:
    """A column a method, a row a pair (by its number above): seconds an epoch, and memory where it was probed."""
    speeds, probes = expected.speeds, expected.probes

    def seconds(key: Key) -> str:
        return number(speeds.seconds(key)) if speeds.source(key) != "none" else "?"

    def memory(key: Key) -> str:
        peak = probes[key].peak_bytes if key in probes else None
        return "?" if peak is None else number(peak / 1e9)

    shared = "" if share == 1 else f", each run on {number(share)} of a device"
    lines = _matrix(planner.scope, f"seconds an epoch{shared}", seconds)
    if any(probe.peak_bytes is not None for probe in probes.values()):
        lines += _matrix(planner.scope, "peak memory in GB", memory)
    return lines


def _matrix(study: Study, title: str, value: Callable[[Key], str]) -> list[str]:
    """A row a pair, a column a method; pre-trainings of pairs, and the teachers that are trained here. `value` of a
    unit."""
    columns = (SCRATCH, *study.methods)
    widths = [max(10, len(column) + 2) for column in columns]

    def row(head: str, texts: Iterable[str]) -> str:
        return head + "".join(text.rjust(width) for text, width in zip(texts, widths, strict=True))

    lines = [title, row(" " * 4, columns)]
    for place, (teacher, student) in enumerate(study.pairs, start=1):
        texts = [value(Key("scratch", Cell("", student, SCRATCH)))]
        texts += [value(Key("cell", study.cell(teacher, student, method))) for method in study.methods]
        lines.append(row(f"{place:3}.", texts))
        cells = [study.cell(teacher, student, method) for method in study.methods if study.pretrains(method)]
        if before := [f"{cell.method} {value(Key('pretrain', cell))}" for cell in cells]:
            lines.append(f"      pre-training: {', '.join(before)}")
    teachers = [f"{key.cell.student} {value(key)}" for key in keys(study) if key.kind == "teacher"]
    return [*lines, *([f"  teachers: {', '.join(teachers)}"] if teachers else []), ""]


def sources(found: Forecast, expected: Expected) -> str:
    """Where the times come from, and how far they can be trusted."""
    total, where = sum(found.sources.values()), f" on {expected.device}" if expected.device else ""
    kinds = {
        "ledger": f"this study's own runs{where}",
        "probe": f"probes{where}",
        "flops": f"{expected.assumed}: no device was asked, so expect them to be off by a factor of two or three",
        "none": "nothing: one second an epoch stands for the unknown",
    }
    texts = [f"{found.sources[kind]} of {total} from {text}" for kind, text in kinds.items() if found.sources.get(kind)]
    return f"times of the kinds of runs: {'; '.join(texts)}"


def _together(expected: Expected) -> list[str]:
    """That runs share a process, on which the times count."""
    if expected.together == 1:
        return []
    shared = "views of one seed and passes of one teacher are then made once, and probes and FLOPs are counted so"
    many = f"up to {expected.together} share a process (--together)"
    return [f"where more runs are ready than there are devices, {many}: {shared}"]


def _clock(found: Forecast, word: str) -> list[str]:
    if not found.total.left:
        return []
    chain = f"the longest chain of runs that wait for each other takes {span(found.chain_seconds, found.chain_seconds)}"
    if found.slots:
        return [f"wall-clock: {_days(found, word, found.slots)}; {chain}"]
    clusters = ", ".join(_days(found, word, round(count / found.share)) for count in CLUSTERS)
    return [f"wall-clock: {clusters}; {chain}"]


def _days(found: Forecast, word: str, slots: int) -> str:
    devices = slots * found.share
    several = word.replace("GPU", "GPUs").replace("slot", "slots") if devices != 1 else word
    return f"{span(*found.wall_seconds(slots))} on {devices:g} {several}"


def _disk(found: Forecast, keep: Keep) -> list[str]:
    if (disk := found.disk) is None:
        return ["disk: unknown, for the data set is not here"] if found.total.left else []
    others = [f"--keep {other}: {size(disk.peak[other])}, {size(disk.end[other])}" for other in KEEP if other != keep]
    peak = f"at most {size(disk.peak[keep])} at the peak, when searches wait at their rungs"
    own = f"{peak}, {size(disk.end[keep])} at the end (--keep {keep})"
    return [f"disk: {own}; {'; '.join(others)}"]


def _unfit(found: Forecast) -> list[str]:
    """Runs whose batch does not fit, each with the number of workers at which it would."""
    texts = [f"{one.key} ({f'{one.workers} workers' if one.workers else 'not one image'})" for one in found.unfit]
    return [f"does not fit the memory as it is; would fit with: {', '.join(texts)}"] if texts else []


def summary(found: Forecast, word: str = "GPU", price: float | None = None, keep: Keep = "all") -> str:
    """One line: device-hours before and after pruning, days, disk and money."""
    total = found.total
    after = f"about {number(total.expected)} after"
    if total.done:
        after += f", of which {number(total.done)} done and {number(total.left)} left"
    texts = [f"total {number(total.before)} device-hours before pruning, {after}"]
    if found.slots and total.left:
        texts.append(_days(found, word, found.slots))
    if found.disk is not None:
        texts.append(f"at most {size(found.disk.peak[keep])} on disk")
    if price is not None:
        texts.append(f"{number(total.left * price)} at {price:g} a device-hour")
    elif total.left:
        texts.append("money: with --price, what a device-hour costs")
    return "; ".join(texts)

"""The plan as a person reads it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small import CNN_STUDENT, CNN_TEACHER, MLP_STUDENT, VIT_TEACHER, small_study

import sweeps.costs.expect
from pat.config import Data
from sweeps.costs.expect import Images, configs, counted_seconds, expect, images_of, probed_seconds
from sweeps.costs.flops import Count, Work
from sweeps.costs.groups import Alone
from sweeps.costs.plan_text import plan_text
from sweeps.costs.planned import plan_facts
from sweeps.costs.probe_file import Probe, write_probes
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.looking.words import number, size, span
from sweeps.planning.planner import Planner
from sweeps.planning.units import Key
from sweeps.presets import preset
from sweeps.store import open_study
from sweeps.study import Cell, TeacherFile

GPU = "Some GPU"


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell costs the same."""
    one = Count(Work(1e9, 0), Work(1e8, 0), 300, 100)
    monkeypatch.setattr(sweeps.costs.expect, "counts", lambda runs, say: dict.fromkeys(runs, one))


def probe_all(folder: Path, **changes: Probe) -> None:
    """Ten minutes an epoch and five gigabytes for every cell of the small study."""
    probes = {
        key: Probe(*key.cell, GPU, 1, 1, epoch_seconds=600.0, peak_bytes=5 * 10**9, checkpoint_bytes=9, student_bytes=3)
        for key in configs(small_study())
    }
    write_probes(folder, [replace(one, kind=key.kind, **changes) for key, one in probes.items()])


def plan(folder: Path, **flags: object) -> str:
    return plan_text(small_study(), small_study(), folder, **flags)  # type: ignore[arg-type]


def test_without_devices_it_says_so_and_what_was_assumed(tmp_path: Path) -> None:
    text = plan(tmp_path, gpus=True)
    assert f"  1. {CNN_TEACHER} -> {MLP_STUDENT}\n" in text and f"  2. {VIT_TEACHER} -> {CNN_STUDENT}\n" in text
    assert "8 of 8 from FLOPs at an assumed 20 TFLOP/s in fp32 and 10 µs an operation" in text
    assert "on 1 GPU, " in text and " on 64 GPUs" in text and "peak memory" not in text and "runs done" not in text
    assert not list(tmp_path.iterdir())


def test_a_plan_for_programs_says_the_same(tmp_path: Path) -> None:
    probe_all(tmp_path)
    given = {"device": GPU, "gpus": True, "slots": 4, "share": 0.5, "price": 3.0}
    facts = json.loads(json.dumps(plan_facts(small_study(), small_study(), tmp_path, **given)))  # type: ignore[arg-type]
    total = facts["phases"][-1]
    assert total["name"] == "total" and total["before"] == pytest.approx(sum(p["before"] for p in facts["phases"][:-1]))
    assert facts["money_left"] == pytest.approx(3 * total["left"]) and facts["wall_seconds"][0] > 0
    assert {unit["source"] for unit in facts["units"]} == {"probe"} and len(facts["units"]) == 8
    assert {unit["seconds_an_epoch"] for unit in facts["units"]} == {1200.0}  # two share a device
    assert f"total {number(total['before'])} device-hours" in plan(tmp_path, **given)
    assert not list(plan_facts(small_study(), small_study(), tmp_path / "none")["wall_seconds"] or ())


def test_probes_give_times_memory_days_and_money(tmp_path: Path) -> None:
    probe_all(tmp_path)
    text = plan(tmp_path, device=GPU, gpus=True, slots=4, share=0.5, price=3.0, keep="best")
    assert "8 of 8 from probes on Some GPU" in text
    assert "seconds an epoch, each run on 0.50 of a device" in text and "  1.     1,200     1,200     1,200" in text
    assert "peak memory in GB" in text and "  2.       5.0       5.0       5.0" in text
    line = text.splitlines()[-1]
    # 228 and 196 epochs of ten minutes of a whole device, on 4 slots of half of one: two GPUs
    assert line.startswith("total 38 device-hours before pruning, about 33 after; 16.3 to ")
    assert " on 2 GPUs; at most " in line and line.endswith("; 98 at 3 a device-hour")
    assert "(--keep best); --keep all: " in text


def test_hours_count_on_runs_that_share_a_process(tmp_path: Path) -> None:
    """By hand, on two slots: 16 runs at the first rung, and as many confirmations, are handed out in groups of 4, 4, 4,
    2, 1 and 1; 8 at the second rung in 4, 2, 1 and 1. So a view serves 1 / 0.4 runs. 8, 4 and 4 of these have one
    teacher, which is asked 3, 2 and 2 times: a pass serves 1 / 0.475 runs."""
    probe_all(tmp_path, views_seconds=240.0, plain_seconds=120.0)
    flags = {"device": GPU, "gpus": True, "slots": 2}
    alone = plan(tmp_path, **flags, most=1)
    assert "about 33 after" in alone.splitlines()[-1] and "share a process" not in alone
    text = plan(tmp_path, **flags, most=4)
    assert "up to 4 share a process (--together)" in text and "  1.       600       393       393" in text
    assert "about 23 after" in text.splitlines()[-1]
    assert plan(tmp_path, **flags, memory=100 * 10**9).count("up to 8 share a process") == 1
    replayed = Key("scratch", Cell("", MLP_STUDENT, "scratch"))
    assert expect(small_study(), tmp_path, GPU, slots=1000, memory=10**11).speeds.seconds(replayed) == 600.0


def test_an_exchange_is_named_and_priced(tmp_path: Path) -> None:
    probe_all(tmp_path)
    study = replace(small_study(), exchange=1)
    text = plan_text(study, study, tmp_path, device=GPU, gpus=True, slots=4, share=0.5)
    assert "exchange: each best setting also in 1 more of its method's cells" in text
    line = next(line for line in text.splitlines() if line.startswith("exchange "))
    assert line.split()[1:4] == ["8", "0", "48"], "of four cells one each, on two seeds, six epochs a run"
    assert "exchange" not in plan(tmp_path, device=GPU, gpus=True)


def test_probes_of_another_device_say_no_time(tmp_path: Path) -> None:
    probe_all(tmp_path)
    assert "8 of 8 from FLOPs" in plan(tmp_path, device="Other GPU", gpus=True)


def test_what_does_not_fit_is_named_with_the_workers_that_would(tmp_path: Path) -> None:
    probe_all(tmp_path, workers=4)
    assert f"would fit with: teacher {CNN_TEACHER} (4 workers), " in plan(tmp_path, device=GPU, gpus=True)


@pytest.mark.usefixtures("replayed")
def test_a_complete_study_has_nothing_left_and_knows_its_times(tmp_path: Path) -> None:
    folder, study = open_study(tmp_path, small_study())
    run_here(Driver(folder, study, study, tmp_path))
    text = plan(folder)
    assert "8 of 8 from this study's own runs" in text and "wall-clock" not in text
    assert "runs done\n" in text and "       2/2       8/8       8/8\n" in text
    assert text.splitlines()[-1].endswith(" done and 0 left") and "disk" not in text  # whose sizes are counted


def test_half_a_study_asked_for_is_planned_alone(tmp_path: Path) -> None:
    study = small_study()
    asked = replace(study, pairs=study.pairs[1:], methods=("kd",))
    text = plan_text(study, asked, tmp_path)
    assert "1 pair, 1 cell\n" in text and CNN_TEACHER not in text and "pat" not in text.split("confirmation")[0]


def test_a_teacher_of_a_tag_is_found_in_the_ledger_under_its_full_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(
        teachers={"resnet18": TeacherFile("timm:resnet18.a1_in1k", "0" * 64)}, pairs=(("resnet18", MLP_STUDENT),)
    )
    cells = configs(study)
    assert [key.cell for key in cells] == [Cell("", MLP_STUDENT, "scratch"), *study.cells()]
    assert cells[Key("cell", study.cells()[0])].teacher.name == "resnet18.a1_in1k"  # type: ignore[union-attr]
    assert expect(study, tmp_path).fetched_bytes == pytest.approx(11.7e6 * 4, rel=0.01)


def test_images_are_known_before_the_data_is_here(tmp_path: Path) -> None:
    assert images_of(Data("cifar100", 32, validation=0.1), tmp_path) == (45_000, 5_000, 10_000, 100)
    assert images_of(Data("folder:nowhere", 32), tmp_path) is None


def test_seconds_from_flops() -> None:
    config = configs(small_study())[Key("scratch", Cell("", CNN_STUDENT, "scratch"))]
    images = images_of(Data("cifar10", 32, validation=0.5), Path())
    work = Count(Work(20e12 / 32, 10), Work(20e12 / 35_000, 10), 0, 0)
    assert images and counted_seconds(config, work, images, gpus=True).seconds == pytest.approx(25_000 // 32 + 1.0)
    slow = counted_seconds(config, replace(work, step=Work(0, 10**6), score=Work()), images, gpus=True)
    assert slow.seconds == pytest.approx(25_000 // 32 * 10.0)
    assert counted_seconds(config, work, images, gpus=False).seconds > 100 * slow.seconds / 10


@pytest.mark.parametrize(
    ("name", "canvas", "fixed", "of_224"),
    [
        ("coco-tiny", 128 * 224, 1e-2, 5e-3),
        ("coco", 800 * 1344, 1e-2, 5e-3),
        ("voc-seg", 512 * 512, 1e-2, 5e-3),
        ("digits", 32 * 32, 2e-4, 1e-3),
    ],
)
def test_views_on_a_cpu_cost_what_their_canvas_and_their_photograph_do(
    name: str, canvas: int, fixed: float, of_224: float
) -> None:
    study = preset(name)
    config = configs(study)[Key("scratch", Cell("", study.used_students()[0], "scratch"))]
    batch = config.recipe.batch_size
    images, nothing = Images(3 * batch, 0, 5, 10), Count(Work(), Work(), 0, 0)
    views = (3 * batch + 5 * (2 if config.recipe.ema_decay else 1)) * (fixed + of_224 * canvas / 224**2)
    assert counted_seconds(config, nothing, images, gpus=False).seconds == pytest.approx(views)
    assert counted_seconds(config, nothing, images, gpus=True).seconds == 0


def test_threads_share_what_is_computed_and_an_ema_is_scored_too() -> None:
    cells, images = configs(small_study()), Images(330, 60, 40, 10)
    plain, averaged = (cells[Key("scratch", Cell("", name, "scratch"))] for name in (CNN_STUDENT, MLP_STUDENT))
    step = Count(Work(60e9, 0), Work(), 0, 0)
    one, two = (counted_seconds(replace(plain, threads=n), step, images, gpus=False).seconds for n in (1, 2))
    assert one - two == pytest.approx(330 // 32 * 32 / 2)
    score = Count(Work(), Work(20e12, 0), 0, 0)
    assert counted_seconds(plain, score, images, gpus=True).seconds == pytest.approx(60 + 40)
    assert counted_seconds(averaged, score, images, gpus=True).seconds == pytest.approx(2 * (60 + 40))


def test_only_runs_of_one_worker_share_a_device() -> None:
    """A probe has the device for itself; what fits on none says no time."""
    cells = [Key("cell", cell) for cell in small_study().cells()[:3]]
    probes = {
        cell: Probe(*cell.cell, "GPU", asked_workers=asked, workers=workers, epoch_seconds=10.0, views_seconds=2.0)
        for cell, asked, workers in zip(cells, (1, 2, 1), (1, 2, 0), strict=True)
    }
    assert probed_seconds(probes, 0.25) == {cells[0]: Alone(40.0, 8.0), cells[1]: Alone(10.0, 2.0)}


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("coco-tiny", "study coco-tiny: detection, data coco-tiny at "),
        ("camvid-small", "study camvid-small: segmentation, data camvid at "),
        ("digits", "study digits: data digits at 32 px, methods scratch, "),
    ],
)
def test_the_head_says_which_task(name: str, head: str, tmp_path: Path) -> None:
    study = preset(name)
    assert plan_text(study, study, tmp_path, data_root=tmp_path).startswith(head)


def test_the_planner_and_the_plan_agree(tmp_path: Path) -> None:
    planner = Planner(small_study(), {})
    total = plan(tmp_path).splitlines()
    row = next(line for line in total if line.startswith("total  "))
    assert row.split()[1] == str(planner.counts()[1])


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1234.5, "1,234"), (56.4, "56"), (7.84, "7.8"), (0.123, "0.12"), (0.0034, "0.0034")]
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (950, "950 B"), (1234, "1.2 KB"), (180 * 10**9, "180 GB")])
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_spans_have_one_unit() -> None:
    assert span(3600 * 50, 3600 * 60) == "2.1 to 2.5 days" and span(30, 30) == "30 s"

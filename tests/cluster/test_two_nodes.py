"""The mission's command on two genuine nodes, as docs/clusters.md gives it; `make cluster-test` runs this.

The nodes and the laptop are namespaces of this machine (see `netns`). The tests are steps of one story, in this order.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis import read_runs
from tests.cluster.netns.cluster import SCRIPT, YAML, Cluster, cluster, say, until
from tests.cluster.netns.machines import missing
from tests.cluster.netns.terminal import CTRL_C, Terminal

sys.path.insert(0, str(Path(__file__).parents[1] / "sweeps"))
from test_driver import same  # noqa: E402

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

PAIRS = (
    "convnext_micro_32:vit_nano_patch8_32,vit_micro_patch8_32:mixer_nano_patch8_32,mixer_micro_patch8_32:resnet_nano_32"
)
STUDY = f"--preset digits --pairs {PAIRS} --methods kd,pat --trials 4 --seeds 1"
SHORT = f"--preset digits --pairs {PAIRS.split(',')[0]} --methods kd --trials 0 --seeds 1 --workers 2"
LOOKING_ON = "already runs this command"
LEAVINGS = (
    "~/.ray",
    "~/.ssh",
    "~/pat-*",
    "~/ray_bootstrap_*",
    "~/hetero_grid.py",
    "/tmp/ray-config-*",
    "/tmp/ray_ssh_*",
)


def leavings() -> set[tuple[str, int]]:
    """What Ray and ssh leave in a home folder and in /tmp, and when it was changed."""
    roots = [Path(os.path.expanduser(pattern)) for pattern in LEAVINGS]
    there = [path for root in roots for path in root.parent.glob(root.name)]
    inside = [path for folder in there for path in folder.glob("*")]
    return {(str(path), path.stat().st_mtime_ns) for path in [*there, *inside, *Path("/tmp/ray").glob("cluster-*")]}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes and a laptop with the project and a Ray token."""
    if reason := missing():
        pytest.skip(reason)
    before = leavings()
    with cluster(tmp_path_factory.mktemp("cluster")) as started:
        started.give("ray get-auth-token --generate > /dev/null && chmod 600 ~/.ray/auth_token", limit=60)
        yield started
    assert leavings() == before


def finished(study: Path) -> list[str]:
    """The runs that have come to their end, pruned ones too."""
    return [path.parent.name for path in study.glob("runs/*/run.parquet")]


def where(two: Cluster, title: str) -> list[str]:
    """The nodes where processes of that title are."""
    return [name for name, titles in two.processes().items() if any(line.startswith(title) for line in titles)]


def ends(terminal: Terminal, limit: float, code: int = 0) -> None:
    found = terminal.wait(limit)
    say(f"  exit {found} after {terminal.seconds:.0f} s")
    assert found == code, terminal.text[-3000:]


def test_reference(two: Cluster) -> None:
    """The study on one machine with an embedded Ray."""
    two.give(f"python {SCRIPT} {STUDY}", limit=600)


def test_up(two: Cluster) -> None:
    two.give(f"ray up -y {YAML}", limit=240)
    took = until(lambda: where(two, "ray::RuntimeEnvAgent") == ["node1", "node2"], "Ray on node2", limit=120)
    say(f"  node2 is there {took:.0f} s later")


def test_study_survives_its_client_and_a_lost_node(two: Cluster) -> None:
    study = two.shared / "runs" / "digits"
    first = two.open(two.submit(STUDY))
    first.until("the study is Ray job", limit=120)
    say(f"  handed over after {first.seconds:.0f} s")
    until(lambda: len(finished(study)) >= 3, "three runs", limit=240)
    assert where(two, "ray::ImplicitFunc") == ["node1", "node2"]
    first.kill()
    say(f"  client killed after {first.seconds:.0f} s, {len(finished(study))} runs done")

    again = two.open(two.submit(STUDY))
    again.until(LOOKING_ON, limit=60)
    node = two.nodes[1]
    node.connect(False)
    head, lost = two.nodes[0], "marked dead because the detector has missed too many heartbeats"
    log = "${TMPDIR:-/tmp}/ray/session_latest/logs/gcs_server.out"
    took = until(lambda: int(head.run(f"grep -c '{lost}' {log} || true")), "node2 is dead to Ray", limit=150)
    say(f"  node2 cut off, given up by Ray after {took:.0f} s, {len(finished(study))} runs done")
    old = node.processes()
    node.connect(True)
    back = time.time()

    def works() -> bool:
        return any("ray::ImplicitFunc" in title for pid, title in node.processes().items() if pid not in old)

    took = until(works, "node2 works again", limit=150)
    say(f"  node2 is plugged in and works again after {took:.0f} s, {len(finished(study))} runs done")
    ends(again, limit=600)
    assert f"end it: ray down {YAML}" in again.text.strip().splitlines()[-3]

    two.give(f"python -m sweeps pull {YAML} home", limit=120)
    two.give("python -m analysis report home/digits", limit=120)
    same(two.project / "home" / "digits", two.project / "runs" / "digits")
    runs = read_runs(two.project / "home" / "digits")
    say(f"  runs by node {runs['host'].value_counts().to_dict()}, preemptions {runs['preemptions'].sum()}")
    assert set(runs["host"]) == {"node1", "node2"}
    ended = {path.parent.name: path.stat().st_mtime for path in study.glob("runs/*/run.parquet")}
    assert any(ended[row.run_id] > back for row in runs.itertuples() if row.host == "node2")


def test_runs_that_span_both_nodes(two: Cluster) -> None:
    two.give(f"python {SCRIPT} {SHORT}", limit=400)
    first = two.open(two.submit(SHORT))
    until(lambda: where(two, "ray::RayTrainWorker") == ["node1", "node2"], "a run on both nodes", limit=240)
    say(f"  one run on both nodes after {first.seconds:.0f} s")
    first.type(CTRL_C)
    first.wait(limit=60)
    assert "the study goes on" in first.text
    say(f"  Ctrl-C after {first.seconds:.0f} s")
    again = two.open(two.submit(SHORT))
    again.until(LOOKING_ON, limit=60)
    ends(again, limit=400)
    two.give(f"python -m sweeps pull {YAML} home", limit=120)
    same(two.project / "home" / "digits-2workers", two.project / "runs" / "digits-2workers")


WRONG = "--preset digits --pairs nobody:nowhere"
WHERE_IS_THE_LOG = r"error: the study ended with exit code 2; its log, on the head: ray job logs \S+"


def test_a_failing_study(two: Cluster) -> None:
    said = two.give(two.submit(WRONG), limit=90, expect=1)
    assert re.search(WHERE_IS_THE_LOG, said), said[-1500:]


PACKAGES = "~/pat-venv/lib/python3.*/site-packages"
TORCH, CLOCK = f"{PACKAGES}/torch/version.py", f"$(echo {PACKAGES})/wrong_clock.pth"
AHEAD = 'import time; time.true = getattr(time, "true", time.time); time.time = lambda t=time: t.true() + 600'
DIGITS, CIFAR = "--preset digits", "--preset cifar100-small"
FAULTS = {
    "another torch": (
        f"cp -p {TORCH} /tmp/ && echo '__version__ = \"2.0.1\"' >> {TORCH}",
        f"cp -p /tmp/version.py {TORCH}",
        (DIGITS, r"torch +2\.0\.1 "),
    ),
    "storage not shared": (
        "mount -t tmpfs tmpfs /mnt/pat && mkdir /mnt/pat/runs",
        "umount -l /mnt/pat",
        (DIGITS, r"storage .* one folder, shared and writable"),
    ),
    "full disk": (
        "mkdir -p ~/pat-data && mount -t tmpfs -o size=1m tmpfs ~/pat-data",
        "umount -l ~/pat-data",
        (DIGITS, r"disk of data +1\.0 MB free "),
    ),
    "data missing there": (
        "mount -t tmpfs tmpfs /mnt/pat/data",
        "umount -l /mnt/pat/data",
        (f"{CIFAR} --stage none", r"data set +.*cifar-100-python.* not found"),
    ),
    "wrong clock": (f"echo '{AHEAD}' > {CLOCK}", f"rm {CLOCK}", (DIGITS, r"clock +600 s ahead ")),
}
"""What is done to the second node, how it is mended, what the doctor is asked and says of that node."""


def doctor(two: Cluster, options: str, code: int) -> str:
    """What the doctor says, called as docs/clusters.md does. The exit code that Ray hands on is only 0 or 1."""
    start = time.monotonic()
    line = f"cd ~/pat-sweeps && python -m sweeps doctor {options}; echo exit $?"
    said = two.give(f"ray exec {YAML} '{line}'", limit=90)
    assert f"exit {code}" in said, said[-2000:]
    assert time.monotonic() - start < 60
    return said


def test_doctor_of_sound_machines(two: Cluster) -> None:
    assert "2 machines: nothing is wrong" in doctor(two, DIGITS, 0)


def test_doctor_without_the_data_set(two: Cluster) -> None:
    assert re.search(r"error: data set .*cifar-100-python.* not found", doctor(two, CIFAR, 2))


@pytest.mark.parametrize("fault", FAULTS)
def test_doctor_names(two: Cluster, fault: str) -> None:
    damage, mend, (options, expected) = FAULTS[fault]
    data = two.shared / "data" / "cifar-100-python"
    data.mkdir(parents=True, exist_ok=True)
    (data / "train").touch()
    two.nodes[1].run(damage)
    try:
        said = doctor(two, options, 2)
    finally:
        two.nodes[1].run(mend)
    rows = re.findall(r"node2 \(10\.77\.0\.12\) +(.*)", said)
    say(f"  {rows}")
    assert len(rows) == 1 and re.match(expected, rows[0]), said[-1500:]


def test_changed_code_is_brought_there_first(two: Cluster) -> None:
    two.give("echo '# changed' >> sweeps/study.py && python -m sweeps.version", limit=60)
    said = two.give(two.submit(WRONG), limit=90, expect=1)
    assert f"ray rsync-up {YAML}" in said, said[-1500:]
    two.give(f"ray rsync-up {YAML}", limit=90)
    said = two.give(two.submit(WRONG), limit=90, expect=1)
    assert re.search(WHERE_IS_THE_LOG, said), said[-1500:]


def test_doctor_after_changed_code(two: Cluster) -> None:
    """The code that is shipped counts, not the workers' own, older copy."""
    assert "2 machines: nothing is wrong" in doctor(two, DIGITS, 0)


def test_down(two: Cluster) -> None:
    two.give(f"ray down -y {YAML}", limit=120)

    def left() -> list[str]:
        """Ray's monitor of log files stays on workers until Ray is started there again."""
        titles = [title for machine in two.machines.values() for title in machine.processes().values()]
        return [title for title in titles if "log_monitor.py" not in title]

    try:
        took = until(lambda: not left(), "no processes", limit=200)
    except TimeoutError:
        raise AssertionError(two.processes()) from None
    say(f"  nothing runs in any machine {took:.0f} s later, but for {list(filter(None, two.processes().values()))}")

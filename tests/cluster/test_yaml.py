"""The cluster definitions, without any cluster: Ray's own validation, and what every one of them keeps to."""

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.command_runner import SSHCommandRunner
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli

from sweeps.__main__ import COMMANDS
from sweeps.commands.flags import parser

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster"
PAGE = ROOT / "docs" / "clusters.md"
LAUNCHED = ("gpu", "onprem", "gcp")
CLOUDS = ("gpu", "gcp")
MARKER = "nothing to edit below this line"
PLACEHOLDERS = re.compile(
    r"fs-0123|sg-0123|192\.0\.2\.|my-project|us-west|us-central|efs-sc"
    r"|m7i\.|g5\.|p4d\.|n2-|g2-|a2-|pat-gpu|pat-onprem|pat-gcp|pat_cluster|max_workers|maxReplicas|idle_timeout|InstanceType"
)
SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE|secret_access_key|_credentials|password|\b[0-9a-f]{32,}\b", re.I
)


def text(name: str) -> str:
    return (FOLDER / f"{name}.yaml").read_text()


def raw(name: str) -> dict:
    return yaml.safe_load(text(name))


def commands(config: dict) -> list[str]:
    """Every command that Ray gives on a machine."""
    kinds = [key for key in config if key.endswith("_commands")]
    return [command for kind in kinds for command in config[kind]]


def test_no_other_definition():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*LAUNCHED, "kuberay"}
    names = [raw(name)["cluster_name"] for name in LAUNCHED]
    assert len(set(names)) == len(names), "a name tells its file"


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_finds_it_valid(name):
    validate_config(prepare_config(raw(name)))


@pytest.mark.parametrize("name", LAUNCHED)
def test_what_is_copied_is_there(name, monkeypatch):
    mounts = raw(name)["file_mounts"]
    token = mounts.pop("~/.ray/auth_token")
    assert token == "~/.ray/auth_token", "made on the laptop; its content is in no file of the project"
    for there, here in mounts.items():
        assert there == f"~/pat-sweeps/{here}" and (ROOT / here).exists()
    needed = {"pat", "sweeps", "analysis", "cluster", "pyproject.toml", "constraints.txt"}
    assert set(mounts.values()) == needed, "Ray reads every file of a folder before it starts: never the whole checkout"


@pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync")
@pytest.mark.parametrize("name", LAUNCHED)
def test_rsync_up_brings_the_code_and_no_more(name, tmp_path):
    """`ray rsync-up` of a checkout that is in use, whole or piece by piece."""
    source, target = tmp_path / "checkout", tmp_path / "copy"
    shutil.copytree(FOLDER, source / "cluster")
    shutil.copy(ROOT / ".gitignore", source)
    kept = ("pat/data/digits.py", "sweeps/hetero_grid.py", "analysis/published.csv", "constraints.txt")
    left = (".venv/bin/python", ".git/HEAD", "data/imagenet/a.jpg", "runs/digits/study.json", "pat/__pycache__/a.pyc")
    for path in (*kept, *left):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).touch()
    options = SSHCommandRunner._create_rsync_filter_args(None, raw(name))
    subprocess.run(["rsync", "-a", *options, f"{source}/", f"{target}/"], check=True)
    assert all((target / path).exists() for path in kept)
    assert not any((target / path).exists() for path in left)
    subprocess.run(["rsync", "-a", *options, f"{ROOT / 'pat'}/", f"{target / 'mounted'}/"], check=True)
    assert (target / "mounted/data/__init__.py").exists(), "a mounted package is whole"


@pytest.mark.parametrize("name", LAUNCHED)
def test_head_and_workers_are_set_up_alike(name):
    config = prepare_config(raw(name))
    head, worker = config["head_setup_commands"], config["worker_setup_commands"]
    common = raw(name)["setup_commands"]
    assert head[: len(common)] == worker[: len(common)] == common
    assert all("setup.sh --with " in extra for extra in head[len(common) :]), "the head: what starts machines"
    assert all("nvidia-smi" in extra for extra in worker[len(common) :]), "a worker: only waiting"
    assert not config["initialization_commands"]


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_is_started_guarded(name):
    config = raw(name)
    (head,), (worker,) = config["head_start_ray_commands"], config["worker_start_ray_commands"]
    for command in (head, worker):
        assert "RAY_AUTH_MODE=token " in command and "RAY_USAGE_STATS_ENABLED=0 " in command
        assert "python ~/pat-sweeps/cluster/node.py ray start " in command, "without it Ray's client server listens"
    assert " --dashboard-host=127.0.0.1 " in head, "the jobs API too"
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head
    assert "$RAY_HEAD_IP:6379" in worker and "--port=6379" in head
    assert ("RAY_enable_autoscaler_v2=0 " in head) == (name == "onprem"), "v2 never starts the workers of a list"


@pytest.mark.parametrize("name", LAUNCHED)
def test_traps_are_avoided(name):
    given = " ".join(commands(raw(name)))
    for trap in ("PYTHONPATH", "ray stop", "0.0.0.0", "pip install", "HF_HUB_OFFLINE", "--start"):
        assert trap not in given, trap
    assert "ray-ml" not in given and "docker" not in raw(name)


@pytest.mark.parametrize("name", [*LAUNCHED, "kuberay"])
def test_what_one_edits_is_in_one_block(name):
    above, marker, below = text(name).partition(MARKER)
    assert marker and above.count("edit this block") == 1
    before = above.partition("edit this block")[0]
    assert all(line.startswith("#") for line in before.splitlines() if line.strip()), "the block is at the top"
    assert PLACEHOLDERS.search(above)
    found = PLACEHOLDERS.search(below)
    assert not found, f"{found and found.group()} is edited, but below the block"


@pytest.mark.parametrize("name", LAUNCHED)
def test_below_the_block_all_are_the_same(name):
    keys = ("file_mounts", "rsync_exclude", "rsync_filter", "worker_start_ray_commands")
    assert {key: raw(name)[key] for key in keys} == {key: raw("gpu")[key] for key in keys}


@pytest.mark.parametrize("name", CLOUDS)
def test_clouds_cost_their_head_alone_when_idle(name):
    config = raw(name)
    kinds = config["available_node_types"]
    head = kinds.pop(config["head_node_type"])
    assert head["resources"] == {"CPU": 0}, "no runs on the head"
    assert config["idle_timeout_minutes"] == 10
    for kind in kinds.values():
        assert kind["min_workers"] == 0 and kind["max_workers"] >= 1
        node = kind["node_config"]
        spot = node.get("InstanceMarketOptions", {}).get("MarketType") or node["scheduling"]["provisioningModel"]
        assert spot.lower() == "spot"
    assert sum(kind["max_workers"] for kind in kinds.values()) == config["max_workers"]
    if name == "gpu":
        assert config["provider"]["cache_stopped_nodes"] is False, "nothing stopped is left to be paid for"


@pytest.mark.parametrize("name", CLOUDS)
def test_images_are_named_and_have_a_driver(name):
    for kind in raw(name)["available_node_types"].values():
        node = kind["node_config"]
        image = node.get("ImageId") or node["disks"][0]["initializeParams"]["sourceImage"]
        assert "nvidia" in image and "18.04" not in image


def test_prices_cover_the_machines():
    with (FOLDER / "prices.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) == {"type", "usd_per_hour", "market", "as_of"}
    price = {(row["type"], row["market"]): float(row["usd_per_hour"]) for row in rows}
    assert len(price) == len(rows)
    assert all(spot < price[name, "on-demand"] for (name, market), spot in price.items() if market == "spot")
    for cluster in CLOUDS:
        for kind in raw(cluster)["available_node_types"].values():
            node = kind["node_config"]
            assert (node.get("InstanceType") or node["machineType"], "on-demand") in price


FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_secret_and_no_dead_image(path):
    content = path.read_text()
    assert not SECRETS.search(content)
    assert not re.search(r"image: \S*ray-ml", content)


def test_setup_is_pinned_quiet_and_leaves_no_python_path():
    script = (FOLDER / "setup.sh").read_text()
    subprocess.run(["bash", "-n", FOLDER / "setup.sh"], check=True)
    installs = re.findall(r"pip install .*", script)
    assert installs and all('-c "$here/constraints.txt"' in line for line in installs)
    (exported,) = re.findall(r"^line='export (.*) # pat-sweeps'$", script, re.M)
    assert exported.split()[1:] == ["RAY_AUTH_MODE=token", "RAY_USAGE_STATS_ENABLED=0", "MALLOC_ARENA_MAX=2"]
    assert "PYTHONPATH" not in re.sub(r"#.*", "", script)
    python = re.search(r"uv venv -q --python (\S+)", script).group(1)
    assert python in (ROOT / "constraints.txt").read_text().splitlines()[0], "the Python of constraints.txt"


def test_the_page_names_what_there_is():
    page = PAGE.read_text()
    for path in FILES:
        assert path.name in page, f"{path.name} is not explained"
    for path in re.findall(r"cluster/[\w/]+\.\w+", page):
        assert (ROOT / path).exists(), path
    for command in re.findall(r"(?:^|[`'(&]|\s{4})ray ([a-z][a-z-]+)", page, re.M):
        assert command in cli.commands, f"ray {command}"
    for command in re.findall(r"python -m sweeps (\w+)", page):
        assert command in COMMANDS, command
    known = {option for action in parser()._actions for option in action.option_strings}
    for line in re.findall(r"hetero_grid\.py -- (.*?)[`\n]", page):
        assert set(re.findall(r"--\w[\w-]*", line)) <= known, line


@pytest.mark.parametrize(("policy", "column"), [("head.json", 2), ("launcher.json", 3)])
def test_the_page_says_why_of_every_action(policy, column):
    rows = re.findall(r"^\| (`(?:ec2|ssm|iam):.*)\|$", PAGE.read_text(), re.M)
    cells = [[cell.strip() for cell in f"|{row}".split("|")] for row in rows]
    said = {action for row in cells if row[column].startswith("yes") for action in re.findall(r"\w+:\w+", row[1])}
    statements = json.loads((FOLDER / "aws" / policy).read_text())["Statement"]
    assert said == {action for statement in statements for action in statement["Action"]}
    assert all(row[4] for row in cells)

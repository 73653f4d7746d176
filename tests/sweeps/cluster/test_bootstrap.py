"""What a cluster's definition says, and the line with which a study ends there."""

from __future__ import annotations

from pathlib import Path

import yaml

from sweeps.cluster.bootstrap import FILE, Cluster, farewell, parse, read_cluster

RENTED = {
    "cluster_name": "cloud",
    "max_workers": 3,
    "idle_timeout_minutes": 10,
    "provider": {"type": "aws"},
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "node_config": {"InstanceType": "m1.small"}},
        "g5": {
            "min_workers": 1,
            "max_workers": 2,
            "resources": {"CPU": 48, "GPU": 4},
            "node_config": {"InstanceType": "g5.big"},
        },
        "p5": {"max_workers": 5, "resources": {"CPU": 96, "GPU": 8}, "node_config": {"InstanceType": "p5.big"}},
    },
}
OWN = {"cluster_name": "desk", "provider": {"type": "local", "head_ip": "h", "worker_ips": ["a", "b"]}}


def project(folder: Path, prices: str = "") -> Path:
    (folder / "cluster").mkdir()
    (folder / "cluster" / "gpu.yaml").write_text("cluster_name: cloud\n")
    (folder / "cluster" / "prices.csv").write_text(f"type,usd_per_hour,market,as_of\n{prices}")
    return folder


def test_rented_machines() -> None:
    cluster = parse(RENTED)
    assert cluster.promised == 2
    assert [(machine.name, machine.gpus) for machine in cluster.largest()] == [
        ("head", 0), ("g5", 4), ("g5", 4), ("p5", 8),
    ]  # fmt: skip


def test_own_machines() -> None:
    cluster = parse(OWN)
    assert cluster.hosts == ("h", "a", "b") and cluster.promised == 3 and cluster.largest() == []


def test_only_a_head_has_a_cluster(tmp_path: Path) -> None:
    assert read_cluster(tmp_path) is None
    (tmp_path / FILE).write_text("nonsense: [")
    assert read_cluster(tmp_path) is None
    (tmp_path / FILE).write_text(yaml.safe_dump(OWN))
    found = read_cluster(tmp_path)
    assert isinstance(found, Cluster) and found.name == "desk"


def test_the_last_line(tmp_path: Path) -> None:
    root = project(tmp_path, "m1.small,0.5,on-demand,2026\ng5.big,4,on-demand,2026\ng5.big,1,spot,2026\n")
    line = farewell(parse(RENTED), root)
    assert line == (
        "cluster cloud still runs: idle it keeps 2 machines (m1.small, g5.big) for about $4.50 an hour, "
        "others end after 10 idle minutes; bring results home: python -m sweeps pull cluster/gpu.yaml DIR; "
        "end it: ray down cluster/gpu.yaml"
    )
    assert farewell(parse(OWN), root).endswith("DIR; end it: ray down CLUSTER.yaml")


def test_an_unknown_price_is_said(tmp_path: Path) -> None:
    line = farewell(parse(RENTED), project(tmp_path, "g5.big,4,on-demand,2026\n"))
    assert "at a price that is not known here" in line

"""`cluster/node.py` without a Ray: which processes it ends, which address and card it takes, what it leaves out."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def node():
    spec = importlib.util.spec_from_file_location("node", Path(__file__).parents[2] / "cluster/node.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stand_in(argument: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", argument])


@pytest.mark.parametrize(
    "argument", ["--gcs-address=10.0.0.1:26379", "--gcs_server_port=26379", "--gcs_address=h:26379"]
)
def test_only_the_ray_of_the_port_is_stopped(node, argument):
    own, other, longer = (stand_in(a) for a in (argument, "--gcs-address=10.0.0.1:26380", f"{argument}1"))
    try:
        assert node.stop("26379", patience=5) == 1
        own.wait(5)
        assert other.poll() is None and longer.poll() is None
    finally:
        for process in (own, other, longer):
            process.kill()
            process.wait()


def test_processes_of_other_users_are_left(node, monkeypatch):
    process = stand_in("--gcs-address=10.0.0.1:26381")
    try:
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        assert node.own_processes("26381") == []
    finally:
        process.kill()
        process.wait()


def test_the_head_is_where_the_file_or_the_command_says(node, tmp_path):
    written = tmp_path / "config.yaml"
    written.write_text('{"provider": {"type": "local", "head_ip": "10.77.0.11"}}')
    assert node.head_of(["start", "--head", f"--autoscaling-config={written}"]) == "10.77.0.11"
    assert node.head_of(["start", "--address=10.77.0.11:6379"]) == "10.77.0.11"
    assert node.head_of(["start", "--head", "--autoscaling-config=/nowhere"]) == "8.8.8.8"


def test_the_card_of_an_address(node):
    assert node.interface_of("127.0.0.1") == "lo"
    assert node.interface_of("203.0.113.9") is None
    assert node.address_towards("127.0.0.1") is None, "a name that means 127.0.1.1 is no address for others"


def test_the_client_server_is_left_out(node, monkeypatch):
    monkeypatch.setenv("RAY_START_HOOK", "__main__.no_client_server")
    parameters = SimpleNamespace(ray_client_server_port=10001)
    node.no_client_server(parameters, True)
    assert parameters.ray_client_server_port is None and "RAY_START_HOOK" not in os.environ


def test_what_ray_start_is_given(node, monkeypatch):
    given = {}
    monkeypatch.setattr(node.scripts, "cli", lambda args, prog_name: given.update(args=args))
    monkeypatch.setattr(node, "stop", lambda port: given.update(port=port))
    monkeypatch.setattr(node, "address_towards", lambda host: "10.77.0.12")
    monkeypatch.setattr(node, "interface_of", lambda address: "eth7")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")
    for name in ("GLOO_SOCKET_IFNAME", "RAY_START_HOOK"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    node.main(["ray", "start", "--address=10.77.0.11:6379", "--num-cpus=1"])
    assert given == {
        "port": "6379",
        "args": ["start", "--address=10.77.0.11:6379", "--num-cpus=1", "--node-ip-address=10.77.0.12"],
    }
    assert os.environ["GLOO_SOCKET_IFNAME"] == "eth7" and os.environ["NCCL_SOCKET_IFNAME"] == "ib0"


def test_misuse_is_one_line(node):
    with pytest.raises(SystemExit, match="use: python node.py ray start"):
        node.main(["start", "--head"])

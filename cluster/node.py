"""`ray start` on one node of a cluster, as the YAML files of this folder call it:

    python ~/pat-sweeps/cluster/node.py ray start --head ...

This user's Ray on the same port is stopped first (`ray stop` would end every Ray that it may), the node's address is
the one on its way to the head (there may be several cards), gloo and NCCL are told its interface (host names often mean
127.0.1.1), the limit of open files is raised, and the Ray client server, which listens on the network, is left out.
"""

from __future__ import annotations

import os
import re
import resource
import socket
import sys
import time
from pathlib import Path

import ray.scripts.scripts as scripts  # first: it brings psutil

import psutil  # isort: skip
import yaml  # isort: skip

PORT = "6379"


def option(args: list[str], name: str) -> str | None:
    """The value of `--name=value`."""
    return next((arg.split("=", 1)[1] for arg in args if arg.startswith(f"--{name}=")), None)


def own_processes(port: str) -> list[psutil.Process]:
    """This user's processes of the Ray whose head listens on `port`."""
    mine = re.compile(rf"--(gcs[-_]address=\S*:|gcs_server_port=){port}(\s|$)")
    found = []
    for process in psutil.process_iter():
        try:
            if process.uids().real == os.getuid() and mine.search(" ".join(process.cmdline())):
                found.append(process)
        except psutil.Error:
            continue
    return found


def stop(port: str, patience: float = 20.0) -> int:
    """Ends them: raylets first (their workers go with them), the head's store last. Returns how many there were."""
    found = own_processes(port)
    for stage in ("raylet", "", "gcs_server"):
        chosen = [p for p in found if p.is_running() and (stage in _name(p) if stage else "gcs_server" not in _name(p))]
        for process in chosen:
            _signal(process.terminate)
        for process in psutil.wait_procs(chosen, timeout=patience)[1]:
            _signal(process.kill)
    deadline = time.monotonic() + 5
    while own_processes(port) and time.monotonic() < deadline:  # workers notice within a second or two
        time.sleep(0.2)
    return len(found)


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _signal(send) -> None:
    try:
        send()
    except psutil.Error:
        pass


def head_of(args: list[str]) -> str:
    """Where the head is: the worker's --address; on the head itself what the YAML says, else any host outside."""
    address = option(args, "address")
    if address:
        return address.rsplit(":", 1)[0].strip("[]")
    config = option(args, "autoscaling-config")
    try:
        provider = yaml.safe_load(Path(config).expanduser().read_text())["provider"] if config else {}
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        provider = {}
    return provider.get("head_ip") or "8.8.8.8"


def address_towards(host: str) -> str | None:
    """This machine's address on the way to `host` (nothing is sent); None if there is no way or only the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return None
        address = probe.getsockname()[0]
    return None if address.startswith("127.") else address


def interface_of(address: str) -> str | None:
    for name, addresses in psutil.net_if_addrs().items():
        if any(a.family == socket.AF_INET and a.address == address for a in addresses):
            return name
    return None


def no_client_server(parameters, head: bool) -> None:
    """Ray's start hook: --ray-client-server-port=0 is refused, leaving it out means port 10001 on every interface."""
    os.environ.pop("RAY_START_HOOK")
    parameters.ray_client_server_port = None


def main(args: list[str]) -> None:
    if args[:2] != ["ray", "start"]:
        sys.exit("node.py: use: python node.py ray start --head|--address=HOST:PORT [options of ray start]")
    args = args[1:]
    head_address = option(args, "address")
    if "SLURM_JOB_ID" not in os.environ:  # which ends what its jobs started
        stop(option(args, "port") or (head_address.rsplit(":", 1)[1] if head_address else PORT))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    address = address_towards(head_of(args))
    if address and option(args, "node-ip-address") is None:
        args.append(f"--node-ip-address={address}")
    interface = interface_of(address) if address else None
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        if interface:
            os.environ.setdefault(name, interface)
    os.environ["RAY_START_HOOK"] = "__main__.no_client_server"
    scripts.cli(args=args, prog_name="ray")


if __name__ == "__main__":
    main(sys.argv[1:])

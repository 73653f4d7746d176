"""cluster/gpu.yaml against a mocked AWS: what `prepare.py` makes, which machines Ray starts, and that the policies in
cluster/aws allow what was asked of AWS and nothing else.

The mock knows neither spot prices nor capacity, does not resolve image names and checks no policy by itself.
"""

import fnmatch
import importlib.util
import json
from pathlib import Path

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.util import prepare_config

ROOT = Path(__file__).parents[2]
REGION = "us-west-2"
NOT_CALLED = {"ssm:GetParameters", "iam:PassRole"}
"""What AWS itself asks for in RunInstances: to read the image's name, and to give the head its role."""


def actions(policy: str) -> set[str]:
    """What a policy allows."""
    statements = json.loads((ROOT / "cluster/aws" / policy).read_text())["Statement"]
    assert all(statement["Effect"] == "Allow" for statement in statements)
    return {action for statement in statements for action in statement["Action"]}


class Calls(set):
    """The actions asked of AWS, seen by every client that is made; image names are resolved as EC2 does."""

    def __init__(self, image: str):
        super().__init__()
        self.image, self.asked = image, []

    def watch(self, client) -> None:
        client.meta.events.register("before-call.*.*", self._seen)
        client.meta.events.register("provide-client-params.ec2.RunInstances", self._resolve)

    def _seen(self, model, **_) -> None:
        self.add(f"{model.service_model.endpoint_prefix}:{model.name}")

    def _resolve(self, params, **_):
        self.asked.append(dict(params))
        return {**params, "ImageId": self.image}


@pytest.fixture
def account(monkeypatch, tmp_path):
    """An empty account, and nothing of the real one: no home folder, no credentials, no waiting."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("0" * 64)
    monkeypatch.chdir(ROOT)
    with mock_aws():
        yield boto3.client("ec2", region_name=REGION)


@pytest.fixture
def prepared(account):
    """The lines that prepare.py prints."""
    return preparer().prepare(REGION, "203.0.113.7/32")


@pytest.fixture
def calls(account, monkeypatch):
    """What Ray asks of AWS from here on."""
    from ray.autoscaler._private.aws import node_provider, utils

    seen = Calls(account.describe_images(Owners=["amazon"])["Images"][0]["ImageId"])
    utils.resource_cache.cache_clear()
    utils.client_cache.cache_clear()
    make_resource, make_client = utils.boto3.resource, utils.boto3.client

    def resource(*args, **kwargs):
        made = make_resource(*args, **kwargs)
        seen.watch(made.meta.client)
        return made

    def client(*args, **kwargs):
        made = make_client(*args, **kwargs)
        seen.watch(made)
        return made

    monkeypatch.setattr(utils.boto3, "resource", resource)
    monkeypatch.setattr(utils.boto3, "client", client)
    monkeypatch.setattr(node_provider, "TAG_BATCH_DELAY", 0)
    yield seen
    utils.resource_cache.cache_clear()
    utils.client_cache.cache_clear()


def preparer():
    spec = importlib.util.spec_from_file_location("prepare", ROOT / "cluster/aws/prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def edited(lines: str) -> dict:
    """The definition, with the printed lines in its edit block."""
    text = (ROOT / "cluster/gpu.yaml").read_text()
    for line in lines.splitlines():
        key = line.strip().split(":")[0] if "setup.sh" not in line else "- bash"
        old = next(old for old in text.splitlines() if old.strip().startswith(key))
        text = text.replace(old, line)
    return yaml.safe_load(text)


def launched(config: dict, kinds: list[str]) -> list[dict]:
    """The head by the laptop, then workers by the head's autoscaler; as EC2 describes them."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for kind in kinds:
        node = config["available_node_types"][kind]
        role = "head" if kind == config["head_node_type"] else "worker"
        tags = {"ray-node-type": role, "ray-user-node-type": kind, "ray-node-name": f"ray-{kind}"}
        provider.create_node(node["node_config"], {**tags, "ray-launch-config": "h"}, 1)
    nodes = provider.non_terminated_nodes({})
    for node in nodes:
        provider.set_node_tags(node, {"ray-node-status": "up-to-date"})
        assert provider.is_running(node) and provider.internal_ip(node) and provider.external_ip(node)
    described = boto3.client("ec2", region_name=REGION).describe_instances(InstanceIds=nodes)["Reservations"]
    provider.terminate_nodes(nodes)
    assert not provider.non_terminated_nodes({})
    return [instance for reservation in described for instance in reservation["Instances"]]


def bootstrapped(lines: str) -> dict:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = AWSNodeProvider.fillout_available_node_types_resources(prepare_config(edited(lines)))
    return AWSNodeProvider.bootstrap_config(config)


def test_ray_up_starts_the_head_and_a_spot_worker(prepared, calls):
    config = bootstrapped(prepared)
    kinds = config["available_node_types"]
    assert kinds["head"]["resources"] == {"CPU": 0}
    assert kinds["g5"]["resources"]["GPU"] == 4 and kinds["g5"]["resources"]["accelerator_type:A10G"] == 1
    assert kinds["p4d"]["resources"]["GPU"] == 8 and kinds["p4d"]["resources"]["CPU"] == 96
    assert all("IamInstanceProfile" not in kinds[kind]["node_config"] for kind in ("g5", "p4d"))
    head, worker = launched(config, ["head", "g5"])
    assert head["InstanceType"] == "m7i.xlarge" and head.get("InstanceLifecycle") is None
    assert head["IamInstanceProfile"]["Arn"].endswith("/pat-sweeps-head")
    assert worker["InstanceType"] == "g5.12xlarge" and worker["InstanceLifecycle"] == "spot"
    assert "IamInstanceProfile" not in worker
    groups = {group["GroupId"] for instance in (head, worker) for group in instance["SecurityGroups"]}
    assert groups == set(kinds["head"]["node_config"]["SecurityGroupIds"]), "no group of Ray's, open to all"
    assert all(asked["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/ami/") for asked in calls.asked)
    assert not any(action.startswith("iam:") for action in calls), "no role of Ray's"


def test_the_policies_allow_what_is_asked_and_nothing_else(prepared, calls):
    config = bootstrapped(prepared)
    launched(config, ["head"])
    assert actions("launcher.json") - NOT_CALLED == calls
    assert NOT_CALLED < actions("launcher.json")
    calls.clear()
    launched(config, ["g5", "p4d"])
    assert actions("head.json") - NOT_CALLED == calls
    assert "iam:PassRole" not in actions("head.json"), "a worker has no role that could be given"


@pytest.mark.parametrize("policy", ["head.json", "launcher.json"])
def test_policies_reach_no_other_machines(policy):
    statements = json.loads((ROOT / "cluster/aws" / policy).read_text())["Statement"]
    for statement in statements:
        assert not any("*" in action for action in statement["Action"])
        if not all(fnmatch.fnmatch(action, "*:Describe*") for action in statement["Action"]):
            assert statement["Resource"] != "*", statement["Sid"]
    for action in ("ec2:TerminateInstances", "ec2:CreateTags"):
        for statement in statements:
            if action in statement["Action"]:
                assert statement["Condition"], statement["Sid"]


def test_the_cluster_is_named_as_the_policies_want_it():
    assert yaml.safe_load((ROOT / "cluster/gpu.yaml").read_text())["cluster_name"].startswith("pat-")


def test_prepare_can_be_given_again_and_is_undone(account, prepared):
    module = preparer()
    assert module.prepare(REGION, "203.0.113.7/32") == prepared
    iam, efs = boto3.client("iam"), boto3.client("efs", region_name=REGION)
    (system,) = efs.describe_file_systems()["FileSystems"]
    assert system["Encrypted"]
    (group,) = account.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["pat-sweeps"]}])[
        "SecurityGroups"
    ]
    opened = [r["CidrIp"] for rule in group["IpPermissions"] for r in rule["IpRanges"]]
    assert opened == ["203.0.113.7/32"]
    document = iam.get_role_policy(RoleName="pat-sweeps-head", PolicyName="pat-sweeps-head")["PolicyDocument"]
    assert document == json.loads((ROOT / "cluster/aws/head.json").read_text())
    module.delete(REGION, data=False)
    assert efs.describe_file_systems()["FileSystems"], "data stays"
    assert not iam.list_roles(PathPrefix="/")["Roles"] or all(
        role["RoleName"] != "pat-sweeps-head" for role in iam.list_roles()["Roles"]
    )
    module.delete(REGION, data=True)
    assert not efs.describe_file_systems()["FileSystems"]

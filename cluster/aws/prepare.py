"""What cluster/gpu.yaml needs in an AWS account, made once:   python cluster/aws/prepare.py us-west-2

A security group (ssh from this machine's address alone, everything among its members), an EFS file system that lasts
beyond the clusters, with a door in every default subnet, and the head's role with the policy beside this file. What is
there already is left as it is. It prints what belongs into the edit block. --delete removes the role again,
--delete-data everything.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

NAME, HEAD = "pat-sweeps", "pat-sweeps-head"
TAGS = [{"Key": "Name", "Value": NAME}]
HERE = Path(__file__).parent


def code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def default_subnets(ec2: Any) -> list[dict[str, Any]]:
    found = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    if not found:
        sys.exit("error: no default subnets in this region: aws ec2 create-default-vpc")
    return sorted(found, key=lambda subnet: subnet["AvailabilityZone"])


def security_group(ec2: Any, vpc: str, address: str) -> str:
    """The group's id. `address`: from where ssh is let in, as 203.0.113.7/32."""
    wanted = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": [NAME]}]
    groups = ec2.describe_security_groups(Filters=wanted)["SecurityGroups"]
    group = groups[0]["GroupId"] if groups else None
    if group is None:
        tags = [{"ResourceType": "security-group", "Tags": TAGS}]
        made = ec2.create_security_group(
            GroupName=NAME, Description="PAT sweeps: Ray clusters and their storage", VpcId=vpc, TagSpecifications=tags
        )
        group = made["GroupId"]
    rules = (
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]},
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": address}]},
    )
    for rule in rules:
        try:
            ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
        except ClientError as error:
            if code(error) != "InvalidPermission.Duplicate":
                raise
    return str(group)


def file_system(efs: Any, subnets: list[dict[str, Any]], group: str) -> str:
    """The file system's id, once it and its mount targets can be used."""
    if not _systems(efs):
        efs.create_file_system(CreationToken=NAME, ThroughputMode="elastic", Encrypted=True, Tags=TAGS)
    system = str(_systems(efs)[0]["FileSystemId"])
    _wait(lambda: _systems(efs)[0]["LifeCycleState"] == "available")
    doors = {target["SubnetId"] for target in _targets(efs, system)}
    for subnet in subnets:
        if subnet["SubnetId"] not in doors:
            efs.create_mount_target(FileSystemId=system, SubnetId=subnet["SubnetId"], SecurityGroups=[group])
    _wait(lambda: all(t["LifeCycleState"] == "available" for t in _targets(efs, system)))
    return system


def _systems(efs: Any) -> list[dict[str, Any]]:
    return list(efs.describe_file_systems(CreationToken=NAME)["FileSystems"])


def _targets(efs: Any, system: str) -> list[dict[str, Any]]:
    return list(efs.describe_mount_targets(FileSystemId=system)["MountTargets"])


def _wait(ready: Any, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            sys.exit("error: the file system is not ready after 5 minutes; give the command again")
        time.sleep(3)


def head_role(iam: Any) -> None:
    """The role of the head and the instance profile of the same name; the policy is written anew each time."""
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ],
    }
    _unless_there(lambda: iam.create_role(RoleName=HEAD, AssumeRolePolicyDocument=json.dumps(trust)))
    iam.put_role_policy(RoleName=HEAD, PolicyName=HEAD, PolicyDocument=(HERE / "head.json").read_text())
    if _unless_there(lambda: iam.create_instance_profile(InstanceProfileName=HEAD)):
        iam.add_role_to_instance_profile(InstanceProfileName=HEAD, RoleName=HEAD)
    # spot machines need a role of EC2's own, once in an account
    _unless_there(lambda: iam.create_service_linked_role(AWSServiceName="spot.amazonaws.com"))


def _unless_there(make: Any) -> bool:
    try:
        make()
        return True
    except ClientError as error:
        if code(error) not in ("EntityAlreadyExists", "InvalidInput"):  # the latter: a service's role that is there
            raise
        return False


def prepare(region: str, address: str) -> str:
    """Makes what is missing; returns the lines for the edit block."""
    ec2 = boto3.client("ec2", region_name=region)
    subnets = default_subnets(ec2)
    group = security_group(ec2, subnets[0]["VpcId"], address)
    system = file_system(boto3.client("efs", region_name=region), subnets, group)
    head_role(boto3.client("iam"))
    zones = ",".join(subnet["AvailabilityZone"] for subnet in subnets)
    return "\n".join(
        (
            f"  region: {region}",
            f"  availability_zone: {zones}",
            f"  - bash ~/pat-sweeps/cluster/setup.sh --nfs {system}.efs.{region}.amazonaws.com:/",
            f"        SecurityGroupIds: [{group}]",
        )
    )


def delete(region: str, data: bool) -> None:
    """Removes what `prepare` made; the file system only with `data`."""
    ec2, efs, iam = (boto3.client(name, region_name=region) for name in ("ec2", "efs", "iam"))
    _gone(lambda: iam.remove_role_from_instance_profile(InstanceProfileName=HEAD, RoleName=HEAD))
    _gone(lambda: iam.delete_instance_profile(InstanceProfileName=HEAD))
    _gone(lambda: iam.delete_role_policy(RoleName=HEAD, PolicyName=HEAD))
    _gone(lambda: iam.delete_role(RoleName=HEAD))
    systems = _systems(efs)
    if systems and not data:
        print(f"the file system {systems[0]['FileSystemId']} and its security group stay; --delete-data removes them")
        return
    for system in systems:
        for target in _targets(efs, system["FileSystemId"]):
            efs.delete_mount_target(MountTargetId=target["MountTargetId"])
        _wait(lambda name=system["FileSystemId"]: not _targets(efs, name))
        efs.delete_file_system(FileSystemId=system["FileSystemId"])
    for group in ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [NAME]}])["SecurityGroups"]:
        ec2.delete_security_group(GroupId=group["GroupId"])


def _gone(remove: Any) -> None:
    try:
        remove()
    except ClientError as error:
        if code(error) != "NoSuchEntity":
            raise


def own_address() -> str:
    with urllib.request.urlopen("https://checkip.amazonaws.com", timeout=10) as answer:
        return f"{answer.read().decode().strip()}/32"


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("region")
    flags.add_argument("--ssh-from", metavar="CIDR", help="from where ssh is let in (default: this machine's address)")
    flags.add_argument("--delete", action="store_true", help="remove the role; keep the data")
    flags.add_argument("--delete-data", action="store_true", help="remove everything, the data too")
    given = flags.parse_args()
    if given.delete or given.delete_data:
        delete(given.region, given.delete_data)
        return
    print("# for the edit block of cluster/gpu.yaml:")
    print(prepare(given.region, given.ssh_from or own_address()))


if __name__ == "__main__":
    main()

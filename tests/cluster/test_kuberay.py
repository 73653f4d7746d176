"""cluster/kuberay.yaml, field by field.

KubeRay's schema is not in any Python package, so the fields below were copied by hand from the API reference of KubeRay
1.7 (RayJobSpec, RayClusterSpec and what they refer to); pods and volumes are checked for what this file uses of
Kubernetes' own. It has not been run on a Kubernetes.
"""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
STRING, NUMBER, FLAG, OBJECT, ARRAY = str, int, bool, dict, list
RAY_JOB = {
    "activeDeadlineSeconds": NUMBER, "backoffLimit": NUMBER, "rayClusterSpec": OBJECT, "submitterPodTemplate": OBJECT,
    "metadata": OBJECT, "clusterSelector": OBJECT, "submitterConfig": OBJECT, "managedBy": STRING,
    "deletionStrategy": OBJECT, "entrypoint": STRING, "runtimeEnvYAML": STRING, "jobId": STRING,
    "submissionMode": STRING, "entrypointResources": STRING, "entrypointNumCpus": NUMBER, "entrypointNumGpus": NUMBER,
    "ttlSecondsAfterFinished": NUMBER, "preRunningDeadlineSeconds": NUMBER, "shutdownAfterJobFinishes": FLAG,
    "suspend": FLAG,
}  # fmt: skip
RAY_CLUSTER = {
    "upgradeStrategy": OBJECT, "authOptions": OBJECT, "suspend": FLAG, "managedBy": STRING, "autoscalerOptions": OBJECT,
    "headServiceAnnotations": OBJECT, "enableInTreeAutoscaling": FLAG, "gcsFaultToleranceOptions": OBJECT,
    "historyServerOptions": OBJECT, "networkPolicy": OBJECT, "tlsOptions": OBJECT, "headGroupSpec": OBJECT,
    "rayVersion": STRING, "workerGroupSpecs": ARRAY,
}  # fmt: skip
HEAD_GROUP = {
    "template": OBJECT, "headService": OBJECT, "enableIngress": FLAG, "ingressOptions": OBJECT, "resources": OBJECT,
    "labels": OBJECT, "rayStartParams": OBJECT, "serviceType": STRING,
}  # fmt: skip
WORKER_GROUP = {
    "suspend": FLAG, "groupName": STRING, "replicas": NUMBER, "minReplicas": NUMBER, "maxReplicas": NUMBER,
    "idleTimeoutSeconds": NUMBER, "priority": NUMBER, "resources": OBJECT, "labels": OBJECT, "rayStartParams": OBJECT,
    "template": OBJECT, "scaleStrategy": OBJECT, "numOfHosts": NUMBER,
}  # fmt: skip
AUTOSCALER = {
    "resources": OBJECT, "image": STRING, "imagePullPolicy": STRING, "securityContext": OBJECT,
    "idleTimeoutSeconds": NUMBER, "upscalingMode": STRING, "version": STRING, "env": ARRAY, "envFrom": ARRAY,
    "volumeMounts": ARRAY, "command": ARRAY, "args": ARRAY,
}  # fmt: skip
AUTHENTICATION = {"enableK8sTokenAuth": FLAG, "secretName": STRING, "mode": STRING}
SUBMITTER = {"backoffLimit": NUMBER}
POD = {
    "containers": ARRAY, "initContainers": ARRAY, "volumes": ARRAY, "tolerations": ARRAY, "securityContext": OBJECT,
    "nodeSelector": OBJECT, "affinity": OBJECT, "serviceAccountName": STRING,
}  # fmt: skip
CONTAINER = {
    "name": STRING, "image": STRING, "resources": OBJECT, "env": ARRAY, "volumeMounts": ARRAY, "command": ARRAY,
    "args": ARRAY, "ports": ARRAY, "securityContext": OBJECT,
}  # fmt: skip


@pytest.fixture(scope="module")
def documents() -> dict[str, dict]:
    found = list(yaml.safe_load_all((ROOT / "cluster/kuberay.yaml").read_text()))
    assert len({document["kind"] for document in found}) == len(found)
    return {document["kind"]: document for document in found}


@pytest.fixture(scope="module")
def job(documents) -> dict:
    assert documents["RayJob"]["apiVersion"] == "ray.io/v1"
    return documents["RayJob"]["spec"]


@pytest.fixture(scope="module")
def cluster(job) -> dict:
    return job["rayClusterSpec"]


def pods(cluster: dict) -> list[dict]:
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def check(value: dict, fields: dict, where: str) -> None:
    for name, item in value.items():
        assert name in fields, f"{where}.{name}: no such field"
        assert type(item) is fields[name], f"{where}.{name}: {item!r}"


def test_every_field_is_one_of_kuberays(job, cluster):
    check(job, RAY_JOB, "spec")
    check(cluster, RAY_CLUSTER, "rayClusterSpec")
    check(cluster["headGroupSpec"], HEAD_GROUP, "headGroupSpec")
    check(cluster["autoscalerOptions"], AUTOSCALER, "autoscalerOptions")
    check(cluster["authOptions"], AUTHENTICATION, "authOptions")
    check(job["submitterConfig"], SUBMITTER, "submitterConfig")
    for group in cluster["workerGroupSpecs"]:
        check(group, WORKER_GROUP, "workerGroupSpecs")
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(type(value) is str for value in group["rayStartParams"].values()), "a map of strings"
        assert set(group["template"]) == {"metadata", "spec"}
    for pod in pods(cluster):
        check(pod, POD, "pod")
        for container in (*pod["containers"], *pod["initContainers"]):
            check(container, CONTAINER, "container")
            assert all(set(v) == {"name", "value"} and type(v["value"]) is str for v in container["env"])


def test_values_that_the_schema_lists(job, cluster):
    assert job["submissionMode"] in ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
    assert cluster["authOptions"]["mode"] == "token"
    assert cluster["autoscalerOptions"]["version"] in ("v1", "v2")
    assert job["ttlSecondsAfterFinished"] == 0 or job["shutdownAfterJobFinishes"]
    assert "deletionStrategy" not in job, "excludes shutdownAfterJobFinishes, and needs a feature gate"


def test_ray_and_python_are_those_of_constraints(cluster):
    pinned = (ROOT / "constraints.txt").read_text()
    assert f"\nray=={cluster['rayVersion']}\n" in pinned
    images = {c["image"] for pod in pods(cluster) for c in (*pod["containers"], *pod["initContainers"])}
    assert images == {f"rayproject/ray:{cluster['rayVersion']}-py311-gpu"} and "CPython 3.11" in pinned


def test_all_pods_are_set_up_by_the_same_script(cluster):
    head, *workers = pods(cluster)
    for pod in (head, *workers):
        assert pod["initContainers"] == head["initContainers"] and pod["volumes"] == head["volumes"]
        (ray,), (setup,) = pod["containers"], pod["initContainers"]
        assert "bash ~/pat-sweeps/cluster/setup.sh" in setup["command"][-1]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in (ray, setup):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            paths = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert {"/mnt/pat", "/home/ray/pat-sweeps", "/home/ray/pat-venv"} <= set(paths)
        env = {variable["name"]: variable["value"] for variable in ray["env"]}
        assert env["PATH"].startswith("/home/ray/pat-venv/bin:"), "Ray is started from the environment"
        assert env["RAY_USAGE_STATS_ENABLED"] == "0" and "PYTHONPATH" not in env
        assert not any("TOKEN" in name for name in env)


def test_the_job_runs_the_code_that_every_pod_has(job):
    assert job["entrypoint"].startswith("python sweeps/hetero_grid.py ")
    assert yaml.safe_load(job["runtimeEnvYAML"]) == {"working_dir": "local:///home/ray/pat-sweeps"}


def test_it_ends_by_itself_and_no_run_is_on_the_head(job, cluster):
    assert job["shutdownAfterJobFinishes"] and cluster["enableInTreeAutoscaling"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert all(group["minReplicas"] == 0 for group in cluster["workerGroupSpecs"])
    for pod in pods(cluster):
        (ray,) = pod["containers"]
        assert ray["resources"]["requests"]["memory"] == ray["resources"]["limits"]["memory"]


def test_the_storage_is_shared_and_the_network_is_closed(documents, cluster):
    claim, policy, files = (documents[kind] for kind in ("PersistentVolumeClaim", "NetworkPolicy", "Pod"))
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in (*pods(cluster), files["spec"]):
        claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
        assert claims == [claim["metadata"]["name"]]
    labels = policy["spec"]["podSelector"]["matchLabels"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert labels.items() <= group["template"]["metadata"]["labels"].items()
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert not any("ipBlock" in peer for rule in policy["spec"]["ingress"] for peer in rule["from"])
    assert "serviceType" not in cluster["headGroupSpec"], "no LoadBalancer, no NodePort"

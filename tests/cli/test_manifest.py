"""The objects of the mesh, as functions of its settings: what other parts rely on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
import pytest
import yaml

from agent.__main__ import main as agent
from cli import agentmanifest, apiservermanifest, configkeys, manifest, operatormanifest, secret
from cli.manifesttext import as_yaml
from cli.settings import MeshSettings
from clustermesh_apiserver.__main__ import clustermesh as exporter
from clustermesh_apiserver.kvstoremesh.command import kvstoremesh as mirror
from clustermesh_operator.__main__ import main as operator

SETTINGS = MeshSettings(
    cluster_name="east",
    cluster_id=1,
    namespace="kube-system",
    service_type="LoadBalancer",
    image="clustermesh.io/clustermesh:1",
    etcd_image="etcd:3.5",
)
PROXY = """\
name: proxy
image: clustermesh.io/clustermesh:1
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
command: [clustermesh-apiserver]
args:
- proxy
- --listen=0.0.0.0:2379
- --upstream=127.0.0.1:2378
- --cert-dir=/var/lib/cilium/etcd-secrets
- --cluster-name=east
- --revoked-config-path=/var/lib/cilium/revoked/revoked.yaml
- --see-config-path=/var/lib/cilium/see/see.yaml
- --health-port=9882
ports:
- {name: etcd, containerPort: 2379, protocol: TCP}
- {name: proxy-metrics, containerPort: 9882, protocol: TCP}
terminationMessagePolicy: FallbackToLogsOnError
readinessProbe:
  httpGet: {path: /readyz, port: 9882}
  periodSeconds: 2
volumeMounts:
- {name: server-cert, mountPath: /var/lib/cilium/etcd-secrets, readOnly: true}
- {name: revoked, mountPath: /var/lib/cilium/revoked, readOnly: true}
- {name: see, mountPath: /var/lib/cilium/see, readOnly: true}
"""
KVSTOREMESH = """\
name: kvstoremesh
image: clustermesh.io/clustermesh:1
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
command: [clustermesh-apiserver]
args:
- kvstoremesh
- --cluster-name=east
- --cluster-id=1
- --max-connected-clusters=255
- --etcd-endpoint=http://127.0.0.1:2378
- --clustermesh-config=/var/lib/cilium/clustermesh
- --health-port=9881
env:
- name: CLUSTERMESH_CLUSTERMESH_CACHE_TTL
  valueFrom:
    configMapKeyRef: {name: cilium-config, key: clustermesh-cache-ttl, optional: true}
ports:
- {name: mesh-metrics, containerPort: 9881, protocol: TCP}
terminationMessagePolicy: FallbackToLogsOnError
readinessProbe:
  httpGet: {path: /readyz, port: 9881}
  periodSeconds: 2
volumeMounts:
- {name: peers, mountPath: /var/lib/cilium/clustermesh, readOnly: true}
"""
AGENT_ARGS = [
    "--cluster-name=east",
    "--cluster-id=1",
    "--max-connected-clusters=255",
    "--clustermesh-config=/var/lib/cilium/clustermesh",
    "--socket-path=/var/lib/cilium/run/cilium.sock",
    "--state-dir=/var/lib/cilium/run/state",
    "--health-port=9879",
]


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def container(workload: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in pod_of(workload)["containers"] if each["name"] == name]
    return found


def test_the_proxy_serves_etcd_with_the_servers_certificate() -> None:
    assert container(apiservermanifest.deployment(SETTINGS), "proxy") == yaml.safe_load(PROXY)


def test_etcd_can_only_be_reached_from_inside_its_pod() -> None:
    args = container(apiservermanifest.deployment(SETTINGS), "etcd")["args"]
    urls = [arg.partition("=")[2] for arg in args if "-urls=" in arg]
    assert urls
    assert all(url.startswith("http://127.0.0.1:") for url in urls)


def test_every_new_pod_is_another_etcd_cluster() -> None:
    etcd = container(apiservermanifest.deployment(SETTINGS), "etcd")
    assert "--initial-cluster-token=$(POD_UID)" in etcd["args"]
    assert etcd["env"] == [{"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}]


def test_the_agent_finds_its_peers_and_its_client_certificate_in_one_directory() -> None:
    agent = agentmanifest.daemonset(SETTINGS)
    assert container(agent, "agent")["args"] == AGENT_ARGS
    (peers,) = [volume for volume in pod_of(agent)["volumes"] if volume["name"] == "peers"]
    *secrets, claims = peers["projected"]["sources"]
    first, remote, local = (source["secret"] for source in secrets)
    assert claims["configMap"]["name"] == "clustermesh-peers"
    assert claims["configMap"]["items"] == [{"key": "claims.yaml", "path": "claims.yaml"}]
    assert first == {"name": "cilium-clustermesh", "optional": True}
    for found, secret_name, client in (
        (remote, "clustermesh-apiserver-remote-cert", "common-etcd-client"),
        (local, "clustermesh-apiserver-local-cert", "local-etcd-client"),
    ):
        assert found["name"] == secret_name
        assert {item["key"]: item["path"] for item in found["items"]} == {
            "tls.crt": f"{client}.crt",
            "tls.key": f"{client}.key",
            "ca.crt": f"{client}-ca.crt",
        }


def test_kvstoremesh_follows_the_peers_of_its_own_secret() -> None:
    apiserver = apiservermanifest.deployment(SETTINGS)
    assert container(apiserver, "kvstoremesh") == yaml.safe_load(KVSTOREMESH)
    (peers,) = [volume for volume in pod_of(apiserver)["volumes"] if volume["name"] == "peers"]
    names = [source["secret"]["name"] for source in peers["projected"]["sources"]]
    assert names == ["cilium-kvstoremesh", "clustermesh-apiserver-remote-cert"]


def test_readers_stay_with_one_of_several_control_planes() -> None:
    several = replace(SETTINGS, replicas=3)
    assert apiservermanifest.deployment(several)["spec"]["replicas"] == 3
    assert apiservermanifest.service(several)["spec"]["sessionAffinity"] == "ClientIP"
    assert apiservermanifest.service(SETTINGS)["spec"]["sessionAffinity"] == "None"


def test_with_the_services_api_it_is_exported_and_an_operator_reads_what_agents_read() -> None:
    on = replace(SETTINGS, mcs_api=True)
    assert "--clustermesh-enable-mcs-api" in container(apiservermanifest.deployment(on), "apiserver")["args"]
    assert (
        "--clustermesh-enable-mcs-api"
        not in container(apiservermanifest.deployment(SETTINGS), "apiserver")["args"]
    )
    operator, agent = pod_of(operatormanifest.deployment(on)), pod_of(agentmanifest.daemonset(on))
    assert operator["volumes"] == [each for each in agent["volumes"] if each["name"] == "peers"]
    added = [each for each in manifest.objects(on, {}) if each.name not in plain_names()]
    assert {each.resource.kind for each in added} == {
        *("CustomResourceDefinition", "Deployment", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"),
    }
    served = {
        version["name"]: version["storage"]
        for each in added
        if each.resource.kind == "CustomResourceDefinition"
        for version in each.body["spec"]["versions"]
    }
    assert served == {"v1beta1": True, "v1alpha1": False}


def plain_names() -> set[str]:
    return {each.name for each in manifest.objects(SETTINGS, {})}


def test_without_kvstoremesh_nothing_of_it_is_there() -> None:
    apiserver = pod_of(apiservermanifest.deployment(replace(SETTINGS, kvstoremesh=False)))
    assert [each["name"] for each in apiserver["containers"]] == ["etcd", "apiserver", "proxy"]
    assert "peers" not in {volume["name"] for volume in apiserver["volumes"]}


def test_every_mount_has_its_volume_and_every_volume_is_mounted() -> None:
    for workload in (
        apiservermanifest.deployment(SETTINGS),
        agentmanifest.daemonset(SETTINGS),
        operatormanifest.deployment(SETTINGS),
    ):
        mounts = {
            mount["name"] for each in pod_of(workload)["containers"] for mount in each.get("volumeMounts", [])
        }
        assert mounts == {volume["name"] for volume in pod_of(workload)["volumes"]}


def test_pods_share_the_clusters_network_unless_a_node_is_set_aside() -> None:
    assert "hostNetwork" not in pod_of(apiservermanifest.deployment(SETTINGS))
    aside = apiservermanifest.deployment(replace(SETTINGS, on_control_node=True))
    assert pod_of(aside)["hostNetwork"] is True
    assert aside["spec"]["strategy"] == {"type": "Recreate"}


def test_selectors_select_their_own_pods() -> None:
    for workload in (apiservermanifest.deployment(SETTINGS), agentmanifest.daemonset(SETTINGS)):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"] == labels
    assert apiservermanifest.service(SETTINGS)["spec"]["selector"] == {"k8s-app": "clustermesh-apiserver"}


def test_nothing_is_applied_before_what_it_needs() -> None:
    kinds = [each.resource.kind for each in manifest.objects(SETTINGS, {secret.SERVER: {"tls.crt": b"x"}})]
    for needed, by in (("CustomResourceDefinition", "Deployment"), ("Secret", "Deployment")):
        assert kinds.index(needed) < kinds.index(by)
    assert kinds.index("ClusterRoleBinding") < kinds.index("DaemonSet")


def test_the_kinds_and_the_peers_are_never_overwritten() -> None:
    once = {each.name for each in manifest.objects(SETTINGS, {}) if each.once}
    assert once == {
        "cilium-clustermesh",
        "cilium-kvstoremesh",
        "ciliumclusterwidenetworkpolicies.cilium.io",
        "clustermesh-peers",
        "clustermesh-revoked",
        "ciliumendpoints.cilium.io",
        "ciliumidentities.cilium.io",
        "ciliumnetworkpolicies.cilium.io",
        "ciliumnodes.cilium.io",
    }


def test_all_objects_are_plain_enough_for_yaml() -> None:
    text = as_yaml(manifest.objects(SETTINGS, {}))
    assert "&id" not in text  # a value in two places is written twice
    assert [each["kind"] for each in yaml.safe_load_all(text)].count("ServiceAccount") == 3


def read_by(program: str) -> tuple[set[str], set[str]]:
    """Keys of the cluster's configuration, and the names of the variables that they become."""
    bodies = [each.complete for each in manifest.objects(replace(SETTINGS, mcs_api=True), {})]
    (container,) = (
        each
        for body in bodies
        if body["kind"] == "Deployment"
        for each in body["spec"]["template"]["spec"]["containers"]
        if each["name"] == program
    )
    references = {each["name"]: each["valueFrom"]["configMapKeyRef"] for each in container["env"]}
    assert all(each["name"] == "cilium-config" and each["optional"] for each in references.values())
    return {each["key"] for each in references.values()}, set(references)


@pytest.mark.parametrize(
    ("program", "command", "keys"),
    [
        ("apiserver", exporter, configkeys.EXPORTER),
        ("kvstoremesh", mirror, configkeys.KVSTOREMESH),
        ("operator", operator, configkeys.OPERATOR),
    ],
)
def test_each_program_takes_its_settings_from_the_clusters_configuration(
    program: str, command: click.Command, keys: tuple[str, ...]
) -> None:
    found, variables = read_by(program)
    assert found == set(keys)
    assert variables <= {f"CLUSTERMESH_{(option.name or '').upper()}" for option in command.params}


def test_the_agents_take_settings_from_the_clusters_configuration() -> None:
    bodies = [each.complete for each in manifest.objects(SETTINGS, {})]
    (agents,) = (body for body in bodies if body["kind"] == "DaemonSet")
    (container,) = agents["spec"]["template"]["spec"]["containers"]
    known = {f"CLUSTERMESH_{(option.name or '').upper()}" for option in agent.params}
    variables = {
        each["name"]: each["valueFrom"]["configMapKeyRef"]
        for each in container["env"]
        if "configMapKeyRef" in each["valueFrom"]
    }
    assert variables.keys() <= known
    assert {reference["key"] for reference in variables.values()} == set(agentmanifest.AGENT_SETTINGS)
    assert all(reference["name"] == "cilium-config" for reference in variables.values())
    assert all(reference["optional"] for reference in variables.values())  # what nobody says has a default


def test_only_the_renewal_reads_the_authoritys_key_and_it_writes_only_leaves() -> None:
    bodies = [each.complete for each in manifest.objects(replace(SETTINGS, mcs_api=True), {})]
    roles = [body for body in bodies if body["kind"] in {"Role", "ClusterRole"}]
    reaching = {
        role["metadata"]["name"]: rule
        for role in roles
        for rule in role["rules"]
        if "secrets" in rule["resources"] and "patch" in rule["verbs"]
    }
    assert list(reaching) == ["clustermesh-apiserver-certgen"]
    assert reaching["clustermesh-apiserver-certgen"]["resourceNames"] == list(secret.LEAVES)
    (role,) = [role for role in roles if role["kind"] == "Role"]
    assert all("resourceNames" in rule for rule in role["rules"])
    (job,) = [body for body in bodies if body["kind"] == "CronJob"]
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == role["metadata"]["name"]
    assert pod["containers"][0]["args"] == ["certgen", "--namespace=kube-system", "--validity-days=1095"]


def test_only_the_agents_are_privileged() -> None:
    bodies = [each.complete for each in manifest.objects(replace(SETTINGS, mcs_api=True), {})]
    pods = {
        body["metadata"]["name"]: body["spec"].get("jobTemplate", body)["spec"]["template"]["spec"]
        for body in bodies
        if body["kind"] in {"Deployment", "DaemonSet", "CronJob"}
    }
    assert pods.pop("clustermesh-agent")["containers"][0]["securityContext"]["privileged"]
    assert len(pods) == 3
    for pod in pods.values():
        assert pod["securityContext"]["runAsNonRoot"]
        for each in pod["containers"]:
            assert each["securityContext"]["readOnlyRootFilesystem"]
            assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}

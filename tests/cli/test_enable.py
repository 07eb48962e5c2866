"""`enable` and `disable` against an API server: what is there afterwards, and what is refused."""

from __future__ import annotations

import base64

import yaml

from certs import bundle
from certs.check import Purpose, check
from cli.crd import definitions
from k8s.resource import CONFIGMAP, CRD, DAEMONSET, DEPLOYMENT, NODE, SECRET, SERVICE
from tests.cli.conftest import Clusters
from tests.cli.test_secret import now

BALANCED = ("--service-type", "LoadBalancer")
LEAVES = ("server", "admin", "remote", "local")


async def test_enable_installs_a_control_plane_agents_and_certificates(clusters: Clusters) -> None:
    result = await clusters.run("enable", "--context", "east", *BALANCED)
    assert result.exit_code == 0, result.output
    for resource, name in (
        (DEPLOYMENT, "clustermesh-apiserver"),
        (DAEMONSET, "clustermesh-agent"),
        (SERVICE, "clustermesh-apiserver"),
        (SECRET, "cilium-clustermesh"),
        (CRD, "ciliumidentities.cilium.io"),
    ):
        assert await clusters.get("east", resource, name) is not None, name
    ca = await data(clusters, "cilium-ca")
    trust = bundle.parse(ca["ca.crt"])
    for leaf in LEAVES:
        found = await data(clusters, f"clustermesh-apiserver-{leaf}-cert")
        purpose = Purpose.SERVER if leaf == "server" else Purpose.CLIENT
        assert check(found["tls.crt"], trust, purpose=purpose, now=now()) == []
        assert bundle.parse(found["ca.crt"]) == trust


async def test_a_second_enable_changes_nothing(clusters: Clusters) -> None:
    await clusters.run("enable", "--context", "east", *BALANCED)
    before = await clusters.everything()
    result = await clusters.run("enable", "--context", "east", *BALANCED)
    assert result.exit_code == 0
    assert "changed" not in result.stderr
    assert await clusters.everything() == before


async def test_flags_name_a_cluster_that_has_no_name_yet(clusters: Clusters) -> None:
    await clusters.name("east", "default", "0")
    refused = await clusters.run("enable", "--context", "east", *BALANCED)
    assert refused.exit_code == 1
    assert "clustermesh enable --context east --cluster-name NAME --cluster-id ID" in refused.stderr
    named = await clusters.run(
        "enable", "--context", "east", *BALANCED, "--cluster-name", "north", "--cluster-id", "7"
    )
    assert named.exit_code == 0, named.output
    config = await clusters.get("east", CONFIGMAP, "cilium-config")
    assert config is not None
    assert config["data"] == {
        "cluster-name": "north",
        "cluster-id": "7",
        "max-connected-clusters": "255",
    }


async def test_an_id_that_packet_marks_would_hide_is_refused(clusters: Clusters) -> None:
    config = {"metadata": {"name": "cilium-config", "namespace": "kube-system"}, "data": {"ipam": "eni"}}
    await clusters.client("east").apply(CONFIGMAP, config)
    before = await clusters.everything()
    result = await clusters.run("enable", "--context", "east", *BALANCED, "--cluster-id", "200")
    assert result.exit_code == 1
    assert "east: cluster id 200 has bit 0x80, which ipam eni uses" in result.stderr
    assert "(upper-half-cluster-id)" in result.stderr
    assert await clusters.everything() == before


async def test_a_live_cluster_is_not_renamed(clusters: Clusters) -> None:
    await clusters.run("enable", "--context", "east", *BALANCED)
    before = await clusters.everything()
    result = await clusters.run("enable", "--context", "east", *BALANCED, "--cluster-id", "9")
    assert result.exit_code == 1
    assert "clustermesh disable --context east" in result.stderr
    assert await clusters.everything() == before


async def test_where_peers_cannot_be_told_the_way_enable_asks_for_the_service_type(
    clusters: Clusters,
) -> None:
    result = await clusters.run("enable", "--context", "east")
    assert result.exit_code == 1
    assert "--service-type" in result.stderr


async def test_a_node_for_the_control_plane_gets_it(clusters: Clusters) -> None:
    node = {"metadata": {"name": "control", "labels": {"clustermesh.io/control": ""}}}
    await clusters.client("east").create(NODE, node)
    result = await clusters.run("enable", "--context", "east")
    assert result.exit_code == 0, result.output
    deployment = await clusters.get("east", DEPLOYMENT, "clustermesh-apiserver")
    assert deployment is not None
    pod = deployment["spec"]["template"]["spec"]
    assert (pod["hostNetwork"], pod["nodeSelector"]) == (True, {"clustermesh.io/control": ""})


async def test_a_node_for_the_control_plane_has_room_for_one_only(clusters: Clusters) -> None:
    node = {"metadata": {"name": "control", "labels": {"clustermesh.io/control": ""}}}
    await clusters.client("east").create(NODE, node)
    before = await clusters.everything()
    result = await clusters.run("enable", "--context", "east", "--replicas", "2")
    assert result.exit_code == 1
    assert "--replicas 1" in result.stderr
    assert await clusters.everything() == before


async def test_the_number_of_control_planes_stays_as_it_was_set(clusters: Clusters) -> None:
    await clusters.run("enable", "--context", "east", *BALANCED, "--replicas", "2")
    await clusters.run("enable", "--context", "east", *BALANCED)
    deployment = await clusters.get("east", DEPLOYMENT, "clustermesh-apiserver")
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 2


async def test_the_services_api_stays_as_it_was_set_until_it_is_turned_off(clusters: Clusters) -> None:
    mcs = "--enable-mcs-api", "true", "--ip-families", "dual"
    await clusters.run("enable", "--context", "east", *BALANCED, *mcs)
    assert await clusters.get("east", CRD, "serviceexports.multicluster.x-k8s.io") is not None
    await clusters.run("enable", "--context", "east", *BALANCED)
    operator = await clusters.get("east", DEPLOYMENT, "clustermesh-operator")
    assert operator is not None
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    assert "--ip-families=dual" in container["args"]  # both times
    assert "CLUSTERMESH_IP_FAMILIES" in [each["name"] for each in container["env"]]
    await clusters.run("enable", "--context", "east", *BALANCED, "--enable-mcs-api", "false")
    assert await clusters.get("east", DEPLOYMENT, "clustermesh-operator") is None


async def test_definitions_of_an_older_services_api_are_refused_and_nothing_is_changed(
    clusters: Clusters,
) -> None:
    (body,) = [each for each in definitions(mcs_api=True) if "serviceimports" in each["metadata"]["name"]]
    body["spec"]["versions"] = [{**body["spec"]["versions"][1], "storage": True}]
    await clusters.client("east").create(CRD, body)
    before = await clusters.everything()
    result = await clusters.run("enable", "--context", "east", *BALANCED, "--enable-mcs-api", "true")
    assert result.exit_code == 1
    assert "serviceimports.multicluster.x-k8s.io does not serve v1beta1" in result.stderr
    assert await clusters.everything() == before


async def test_a_dry_run_prints_every_object_but_no_key_and_changes_nothing(clusters: Clusters) -> None:
    before = await clusters.everything()
    result = await clusters.run("enable", "--context", "east", *BALANCED, "--dry-run")
    assert result.exit_code == 0
    kinds = {each["kind"] for each in yaml.safe_load_all(result.stdout)}
    assert {"Deployment", "DaemonSet", "Secret", "CustomResourceDefinition", "ClusterRole"} <= kinds
    shown = result.stdout
    assert "BEGIN" not in shown
    assert not any(
        b"PRIVATE" in base64.b64decode(text)
        for each in yaml.safe_load_all(shown)
        if each["kind"] == "Secret"
        for key, text in each.get("data", {}).items()
        if not key.endswith(".key")
    )
    assert await clusters.everything() == before


async def test_waiting_names_what_is_missing_when_its_time_is_up(clusters: Clusters) -> None:
    result = await clusters.run(
        "enable", "--context", "east", *BALANCED, "--wait", "--wait-duration", "500ms"
    )
    assert result.exit_code == 1
    assert "Deployment clustermesh-apiserver: 0 of 1 ready" in result.stderr
    assert "has no address" in result.stderr


async def test_disable_leaves_the_name_the_kinds_and_the_authority(clusters: Clusters) -> None:
    await clusters.run("enable", "--context", "east", *BALANCED)
    result = await clusters.run("disable", "--context", "east")
    assert result.exit_code == 0
    assert "until 'clustermesh post-uninstall-cleanup --context east'" in result.stderr
    assert await clusters.get("east", DAEMONSET, "clustermesh-agent") is None
    assert await clusters.get("east", SECRET, "clustermesh-apiserver-server-cert") is None
    assert await clusters.get("east", SECRET, "cilium-ca") is not None
    assert await clusters.get("east", CONFIGMAP, "cilium-config") is not None
    for emptied in ("clustermesh-revoked", "clustermesh-peers"):
        assert await clusters.get("east", CONFIGMAP, emptied) is None
    again = await clusters.run("disable", "--context", "east")
    assert (again.exit_code, again.stderr) == (0, "")


async def test_disable_lets_nobody_in_again_who_was_revoked(clusters: Clusters) -> None:
    await clusters.run("enable", "--context", "east", *BALANCED)
    listed = {
        "metadata": {"name": "clustermesh-revoked", "namespace": "kube-system"},
        "data": {"revoked.yaml": "revoked:\n- serial: a1\n"},
    }
    await clusters.client("east").apply(CONFIGMAP, listed)
    result = await clusters.run("disable", "--context", "east")
    assert "kept ConfigMap clustermesh-revoked" in result.stderr
    await clusters.run("enable", "--context", "east", *BALANCED)
    kept = await clusters.get("east", CONFIGMAP, "clustermesh-revoked")
    assert kept is not None
    assert kept["data"]["revoked.yaml"] == "revoked:\n- serial: a1\n"


async def test_an_api_server_that_does_not_answer_is_said_in_one_line(clusters: Clusters) -> None:
    result = await clusters.run("status", "--context", "nowhere")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.output


async def data(clusters: Clusters, secret: str) -> dict[str, bytes]:
    found = await clusters.get("east", SECRET, secret)
    assert found is not None
    return {key: base64.b64decode(text) for key, text in found["data"].items()}

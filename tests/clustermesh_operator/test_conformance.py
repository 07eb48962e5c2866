"""The cases of the multi-cluster services API's conformance suite, one test each, in its order.

Its DNS and connectivity cases need pods: here is what their answers are made of.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from k8s.resource import ENDPOINTSLICE, SERVICE, SERVICEIMPORT
from mesh.mcs import derived_name
from tests.clustermesh_operator.clusters import Cluster, is_ready, told

HEADLESS: dict[str, Any] = {"clusterIP": "None"}
TCP = {"name": "tcp", "port": 42, "protocol": "TCP"}
SCTP = {"name": "stcp", "port": 142, "protocol": "SCTP"}


async def test_a_service_import_exists_as_long_as_there_is_an_exporting_cluster(
    clusters: list[Cluster],
) -> None:
    first, second = clusters
    for cluster in clusters:
        await cluster.service()
        await cluster.export()
    await first.imported(lambda body: exporting(body) == ["alpha", "beta"])
    await first.unexport()
    await first.imported(lambda body: exporting(body) == ["beta"])
    await second.unexport()
    for cluster in clusters:
        await cluster.gone(SERVICEIMPORT, "hello")


async def test_only_labels_and_annotations_that_are_exported_are_on_the_service_import(
    clusters: list[Cluster],
) -> None:
    first, second = clusters
    await first.service()
    await first.export(
        exportedLabels={"dummy-label": "true"}, exportedAnnotations={"dummy-annotation": "true"}
    )
    for cluster in (first, second):
        metadata = (await cluster.imported())["metadata"]
        assert metadata["labels"] == {"dummy-label": "true"}
        assert metadata["annotations"].items() > {"dummy-annotation": "true"}.items()
        assert "private" not in metadata["annotations"]


async def test_conflicting_labels_and_annotations_are_the_oldests_and_reported_on_each_export(
    clusters: list[Cluster],
) -> None:
    first, second = clusters
    for cluster, value in ((first, "1"), (second, "2")):
        await cluster.service()
        await cluster.export(exportedLabels={f"label{value}": "true"}, exportedAnnotations={"a": value})
    for cluster in clusters:
        await cluster.condition("Conflict", "True", "AnnotationsConflict")
        body = await cluster.imported(lambda body: exporting(body) == ["alpha", "beta"])
        assert body["metadata"]["labels"] == {"label1": "true"}
        assert body["metadata"]["annotations"]["a"] == "1"


async def test_a_cluster_ip_service_is_imported_as_cluster_set_ip_in_each_cluster_until_it_is_unexported(
    clusters: list[Cluster],
) -> None:
    first, _ = clusters
    await first.service()
    await first.export()
    for cluster in clusters:
        assert (await cluster.imported())["spec"]["type"] == "ClusterSetIP"
    await first.condition("Valid", "True", "Valid")
    await first.condition("Ready", "True", "Ready")
    await first.condition("Conflict", "False", "NoConflicts")
    await first.unexport()
    for cluster in clusters:
        await cluster.gone(SERVICEIMPORT, "hello")


async def test_the_session_affinity_is_the_exported_services(clusters: list[Cluster]) -> None:
    first, _ = clusters
    config = {"clientIP": {"timeoutSeconds": 10}}
    await first.service(sessionAffinity="ClientIP", sessionAffinityConfig=config)
    await first.export()
    for cluster in clusters:
        for body in (await cluster.imported(), await cluster.derived()):
            assert body["spec"]["sessionAffinity"] == "ClientIP"
            assert body["spec"]["sessionAffinityConfig"] == config


async def test_an_ip_is_allocated_for_a_cluster_set_ip_import(clusters: list[Cluster]) -> None:
    first, _ = clusters
    await first.service()
    await first.export()
    for cluster in clusters:
        body = await cluster.imported(lambda body: body["spec"].get("ips"))
        assert ip_address(body["spec"]["ips"][0])
        assert body["spec"]["ips"] == [(await cluster.derived())["spec"]["clusterIP"]]
        await cluster.imported(is_ready)


async def test_the_ports_are_the_exported_services(clusters: list[Cluster]) -> None:
    first, second = clusters
    await first.service()
    await first.export()
    for cluster in (first, second):
        assert (await cluster.imported())["spec"]["ports"] == [TCP]
    assert (await first.derived())["spec"]["ports"] == [{**TCP, "targetPort": 4242}]
    assert (await second.derived())["spec"]["ports"] == [{**TCP, "targetPort": 42}]  # no pods of its own


async def test_the_ports_of_two_clusters_are_joined(clusters: list[Cluster]) -> None:
    first, second = clusters
    await first.service()
    await second.service(ports=[TCP, SCTP])
    for cluster in clusters:
        await cluster.export()
    for cluster in clusters:
        await cluster.imported(lambda body: body["spec"]["ports"] == [TCP, SCTP])
        await cluster.condition("Conflict", "True", "PortConflict")  # as Cilium says, and nothing is lost


async def test_conflicting_ports_are_the_oldests_and_reported_on_each_export(clusters: list[Cluster]) -> None:
    first, second = clusters
    await first.service()
    await second.service(ports=[{**TCP, "port": 43}])
    for cluster in clusters:
        await cluster.export()
    for cluster in clusters:
        message = (await cluster.condition("Conflict", "True", "PortConflict"))["message"]
        assert "beta" in message
        await cluster.imported(lambda body: body["spec"]["ports"] == [TCP])


async def test_a_headless_service_is_imported_as_headless_in_each_cluster_until_it_is_unexported(
    clusters: list[Cluster],
) -> None:
    first, _ = clusters
    await first.service(**HEADLESS)
    await first.export()
    for cluster in clusters:
        assert (await cluster.imported())["spec"]["type"] == "Headless"
        assert (await cluster.derived())["spec"]["clusterIP"] == "None"
    await first.unexport()
    for cluster in clusters:
        await cluster.gone(SERVICEIMPORT, "hello")


async def test_no_ip_is_allocated_for_a_headless_import(clusters: list[Cluster]) -> None:
    first, _ = clusters
    await first.service(**HEADLESS)
    await first.export()
    for cluster in clusters:
        await cluster.imported(is_ready)
    await told(*clusters)
    for cluster in clusters:
        assert not (await cluster.imported())["spec"].get("ips")


async def test_an_external_name_service_is_not_valid_and_not_imported(clusters: list[Cluster]) -> None:
    first, second = clusters
    await first.service(type="ExternalName", externalName="example.com")
    await first.export()
    await first.condition("Valid", "False", "InvalidServiceType")
    await first.condition("Ready", "False", "Pending")
    await told(first, second)
    for cluster in clusters:
        assert await cluster.object(SERVICEIMPORT, "hello") is None


async def test_conflicting_headlessness_is_the_oldests_and_reported_on_each_export(
    clusters: list[Cluster],
) -> None:
    first, second = clusters
    await first.service()
    await second.service(**HEADLESS)
    for cluster in clusters:
        await cluster.export()
    for cluster in clusters:
        await cluster.condition("Conflict", "True", "TypeConflict")
        await cluster.imported(lambda body: body["spec"]["type"] == "ClusterSetIP")
        await cluster.derived(lambda body: body["spec"]["clusterIP"] != "None")


async def test_each_cluster_has_an_endpoint_slice_with_the_required_labels_until_it_is_unexported(
    synced: list[Cluster],
) -> None:
    first, _ = synced
    await first.service()
    await first.slice({"addresses": ["10.1.0.7"], "conditions": {"ready": True}})
    await first.export()
    mirrors = []
    for cluster in synced:
        (mirror,) = await cluster.mirrors()
        labels = mirror["metadata"]["labels"]
        assert labels["multicluster.kubernetes.io/service-name"] == "hello"
        assert labels["multicluster.kubernetes.io/source-cluster"] == "alpha"
        assert labels["endpointslice.kubernetes.io/managed-by"] != "endpointslice-controller.k8s.io"
        assert [endpoint["addresses"] for endpoint in mirror["endpoints"]] == [["10.1.0.7"]]
        assert mirror["ports"] == [{"name": "tcp", "port": 4242, "protocol": "TCP"}]
        mirrors.append(mirror["metadata"]["name"])
    await first.unexport()
    for cluster, name in zip(synced, mirrors, strict=True):
        await cluster.gone(ENDPOINTSLICE, name)


async def test_a_service_that_is_not_exported_cannot_be_reached_from_another_cluster(
    clusters: list[Cluster],
) -> None:
    first, _ = clusters
    await first.service()
    await told(*clusters)
    for cluster in clusters:
        assert await cluster.object(SERVICEIMPORT, "hello") is None
        assert await cluster.object(SERVICE, derived_name("shop", "hello")) is None


async def test_the_exported_service_itself_stays_as_it_is_and_local(clusters: list[Cluster]) -> None:
    first, _ = clusters
    await first.service()
    before = await first.object(SERVICE, "hello")
    await first.export()
    body = await first.imported(is_ready)
    assert await first.object(SERVICE, "hello") == before
    assert before is not None and before["spec"]["clusterIP"] not in body["spec"]["ips"]


@pytest.mark.parametrize("spec", [{}, HEADLESS], ids=["ClusterIP", "headless"])
async def test_names_resolve_from_the_import_and_its_slices_as_the_multicluster_plugin_reads_them(
    synced: list[Cluster], spec: dict[str, Any]
) -> None:
    """A ClusterSetIP's name is its import's address, its SRV the import's ports; a headless one's names are
    its endpoints' host names under the label of their cluster, in slices with the import's name."""
    first, _ = synced
    await first.service(**spec)
    await first.slice({"addresses": ["10.1.0.7"], "hostname": "hello-0", "conditions": {"ready": True}})
    await first.export()
    for cluster in synced:
        body = await cluster.imported(is_ready)
        assert body["spec"]["ports"] == [TCP]
        await cluster.imported(lambda body: bool(body["spec"]["ips"]) == (spec != HEADLESS))
        (mirror,) = await cluster.mirrors()
        assert mirror["endpoints"][0]["hostname"] == "hello-0"
        assert mirror["endpoints"][0]["conditions"]["ready"]
        assert mirror["metadata"]["labels"]["multicluster.kubernetes.io/source-cluster"] == "alpha"


def exporting(body: dict[str, Any]) -> list[str]:
    return [each["cluster"] for each in body.get("status", {}).get("clusters", [])]

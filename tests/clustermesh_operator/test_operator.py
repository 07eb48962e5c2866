"""What the conformance cases do not ask for: half of the world unknown, others' objects, changes of mind."""

from __future__ import annotations

from typing import Any

from aiokit.wait import eventually
from k8s.resource import ENDPOINTSLICE, NAMESPACE, SERVICE, SERVICEEXPORT, SERVICEIMPORT
from mesh.mcs import derived_name
from tests.clustermesh_operator.clusters import Cluster, Mesh, conditions, is_ready, told
from tests.clustermesh_operator.test_conformance import HEADLESS, SCTP, TCP, exporting

DERIVED = derived_name("shop", "hello")


async def test_what_rests_on_a_cluster_that_has_not_been_heard_yet_stays_as_it_is(mesh: Mesh) -> None:
    first, second = mesh.clusters
    async with first.operating(mesh.connect):
        await second.service(ports=[TCP, SCTP])
        await second.export()
        before = await first.imported(is_ready)
        address = (await first.derived())["spec"]["clusterIP"]
    mesh.away.add("beta")
    async with first.operating(mesh.connect):
        await told(first)
        assert await first.object(SERVICEIMPORT, "hello") == before
        assert (await first.derived())["spec"]["clusterIP"] == address
        await first.slice({"addresses": ["10.1.0.7"]})
        await first.service()
        await first.export()  # its endpoints are known, whatever the other cluster says
        await first.mirrors()
        assert (await first.imported())["spec"]["ports"] == [TCP, SCTP]
        await second.unexport()
        mesh.away.clear()
        await first.imported(lambda body: exporting(body) == ["alpha"] and body["spec"]["ports"] == [TCP])
        assert (await first.derived())["spec"]["clusterIP"] == address


async def test_an_import_whose_clusters_are_not_known_waits_for_all(mesh: Mesh) -> None:
    """As after a kill between the making of an import and the first word of its status."""
    first, _ = mesh.clusters
    annotations = {"multicluster.kubernetes.io/derived-service": DERIVED}
    metadata = {"name": "hello", "namespace": "shop", "annotations": annotations}
    await first.client.create(
        SERVICEIMPORT, {"metadata": metadata, "spec": {"type": "Headless", "ports": []}}
    )
    mesh.away.add("beta")
    async with first.operating(mesh.connect):
        await told(first)
        assert await first.object(SERVICEIMPORT, "hello")
        mesh.away.clear()
        await first.gone(SERVICEIMPORT, "hello")


async def test_a_removed_cluster_takes_its_exports_along(mesh: Mesh) -> None:
    first, second = mesh.clusters
    async with first.operating(mesh.connect):
        await second.service()
        await second.export()
        await first.imported(is_ready)
        (first.directory / "beta").unlink()
        await first.gone(SERVICEIMPORT, "hello")
        await first.gone(SERVICE, DERIVED)


async def test_an_export_without_a_service_waits_for_it(clusters: list[Cluster]) -> None:
    first, second = clusters
    await first.export()
    await first.condition("Valid", "False", "NoService")
    await first.service()
    await first.condition("Valid", "True", "Valid")
    await second.imported(is_ready)
    await first.client.delete(SERVICE, "hello", "shop")
    await first.condition("Valid", "False", "NoService")
    for cluster in clusters:
        await cluster.gone(SERVICEIMPORT, "hello")

    async def says_nothing_of_conflicts() -> bool:
        body = await first.object(SERVICEEXPORT, "hello")
        return body is not None and "Conflict" not in conditions(body)

    await eventually(says_nothing_of_conflicts)


async def test_a_namespace_that_takes_no_part_neither_exports_nor_uses(clusters: list[Cluster]) -> None:
    first, second = clusters
    await second.namespace(is_global="false")
    for cluster in clusters:
        await cluster.service()
        await cluster.export()
    await second.condition("Valid", "False", "NamespaceNotGlobal")
    body = await second.imported(lambda body: conditions(body).get("Ready"))
    assert conditions(body)["Ready"]["reason"] == "NamespaceNotGlobal"
    assert exporting(await first.imported(is_ready)) == ["alpha"]
    assert await second.object(SERVICE, DERIVED) is None
    await second.namespace(is_global="true")
    await second.imported(is_ready)
    await first.imported(lambda body: exporting(body) == ["alpha", "beta"])


async def test_a_cluster_without_the_namespace_imports_nothing_until_it_has_it(
    clusters: list[Cluster],
) -> None:
    first, second = clusters
    await first.service()
    await first.export()
    await second.client.delete(NAMESPACE, "shop")
    await first.imported(is_ready)
    await second.gone(SERVICEIMPORT, "hello")
    await second.namespace()
    await second.imported(is_ready)


async def test_a_service_that_this_cluster_has_no_ip_family_for_is_not_ready(mesh: Mesh) -> None:
    first, second = mesh.clusters
    await second.service()
    await second.export()
    async with first.operating(mesh.connect, ip_families=("IPv6",)):
        body = await first.imported(lambda body: conditions(body).get("Ready"))
        assert conditions(body)["Ready"]["reason"] == "IPFamilyNotSupported"
        assert await first.object(SERVICE, DERIVED) is None


async def test_a_service_of_somebody_else_under_the_derived_name_is_left_alone(
    clusters: list[Cluster],
) -> None:
    first, _ = clusters
    await first.service(DERIVED)
    theirs = await first.derived()
    await first.service()
    await first.export()
    await told(first)
    assert await first.derived() == theirs
    body = await first.imported(lambda body: conditions(body).get("Ready"))
    assert conditions(body)["Ready"]["reason"] == "Pending"


async def test_a_service_that_becomes_headless_gets_another_derived_service(clusters: list[Cluster]) -> None:
    first, second = clusters
    await first.service()
    await first.export()
    await second.imported(is_ready)
    await first.client.delete(SERVICE, "hello", "shop")
    await first.service(**HEADLESS)
    for cluster in clusters:
        await cluster.derived(lambda body: body["spec"]["clusterIP"] == "None")
        await cluster.imported(lambda body: is_ready(body) and not body["spec"]["ips"])


async def test_what_was_changed_or_deleted_by_hand_is_put_right(clusters: list[Cluster]) -> None:
    first, _ = clusters
    await first.service()
    await first.slice({"addresses": ["10.1.0.7"]})
    await first.export(exportedLabels={"tier": "a"})
    (mirror,) = await first.mirrors()
    await first.imported(is_ready)
    patch: dict[str, Any] = {"metadata": {"labels": {"tier": "b", "more": "c"}}, "spec": {"ports": []}}
    await first.client.merge_patch(SERVICEIMPORT, "hello", patch, "shop")
    await first.client.delete(ENDPOINTSLICE, mirror["metadata"]["name"], "shop")
    await first.imported(
        lambda body: body["spec"]["ports"] == [TCP] and body["metadata"]["labels"] == {"tier": "a"}
    )
    await first.mirrors()
    await first.client.delete(SERVICE, DERIVED, "shop")
    await first.derived()
    await first.client.delete(SERVICEIMPORT, "hello", "shop")
    await first.imported(is_ready)


async def test_a_port_that_is_defined_otherwise_here_gets_nothing_that_is_meant_for_others(
    clusters: list[Cluster],
) -> None:
    first, second = clusters
    await first.service(ports=[TCP])
    await second.service(ports=[{**TCP, "port": 43}, SCTP])
    tcp, stcp = {**TCP, "port": 4242}, {**SCTP, "port": 9}
    await second.slice({"addresses": ["10.2.0.7"]}, ports=[tcp, stcp])
    for cluster in clusters:
        await cluster.export()
    await second.derived(lambda body: len(body["spec"]["ports"]) == 2)

    async def has_the_other_only() -> bool:
        (mirror,) = await second.mirrors()
        return mirror["ports"] == [stcp]

    await eventually(has_the_other_only)


async def test_a_slice_loses_what_its_original_lost(clusters: list[Cluster]) -> None:
    first, _ = clusters
    await first.service()
    await first.slice({"addresses": ["10.1.0.7"], "hostname": "hello-0"}, {"addresses": ["10.1.0.8"]})
    await first.export()
    await first.mirrors()
    await first.slice({"addresses": ["10.1.0.7"], "hostname": None})

    async def has_followed() -> bool:
        (mirror,) = await first.mirrors()
        return mirror["endpoints"] == [{"addresses": ["10.1.0.7"]}]

    await eventually(has_followed)


async def test_slices_of_a_cluster_that_has_not_been_heard_yet_stay(mesh: Mesh) -> None:
    first, second = mesh.clusters
    async with first.operating(mesh.connect, endpoint_sync=True), second.operating(mesh.connect):
        await second.service(**HEADLESS)
        await second.slice({"addresses": ["10.2.0.7"]})
        await second.export()
        before = await first.mirrors()
    mesh.away.add("beta")
    async with first.operating(mesh.connect, endpoint_sync=True), second.operating(mesh.connect):
        await told(first)
        assert await first.mirrors() == before
        await second.slice({"addresses": ["10.2.0.8"]})
        mesh.away.clear()

        async def has_followed() -> bool:
            (mirror,) = await first.mirrors()
            return [each["addresses"] for each in mirror["endpoints"]] == [["10.2.0.8"]]

        await eventually(has_followed)


async def test_slices_have_no_address_that_the_cluster_may_not_claim(mesh: Mesh) -> None:
    first, second = mesh.clusters
    may = "peers: [{name: beta, claim: {addresses: [10.2.0.0/16]}}]\n"
    (first.directory / "claims.yaml").write_text(may)
    async with first.operating(mesh.connect, endpoint_sync=True), second.operating(mesh.connect):

        async def has(*addresses: str) -> None:
            async def has_them() -> bool:
                (mirror,) = await first.mirrors()
                return sorted(a for each in mirror["endpoints"] for a in each["addresses"]) == [*addresses]

            await eventually(has_them, 20)

        await second.service(**HEADLESS)
        await second.slice({"addresses": ["10.2.0.7"]}, {"addresses": ["192.0.2.7"]})
        await second.export()
        await has("10.2.0.7")
        (first.directory / "claims.yaml").write_text("peers: []\n")
        await has("10.2.0.7", "192.0.2.7")
        (first.directory / "claims.yaml").write_text(may)
        await has("10.2.0.7")


async def test_when_all_is_said_nothing_more_is_written(clusters: list[Cluster]) -> None:
    first, second = clusters
    await first.service()
    await first.slice({"addresses": ["10.1.0.7"]})
    await first.export(exportedLabels={"tier": "a"})
    for cluster in clusters:
        await cluster.imported(is_ready)
    await first.mirrors()
    await told(first, second)
    versions = [await versions_of(cluster) for cluster in clusters]
    await first.service("another")  # a change that asks for a look at everything, and for nothing else
    await second.service("another")
    await first.export("another")
    await second.eventually(SERVICEIMPORT, "another", is_ready)
    assert [await versions_of(cluster) for cluster in clusters] == versions


async def versions_of(cluster: Cluster) -> list[str]:
    found = [await cluster.imported(), await cluster.derived()]
    return [body["metadata"]["resourceVersion"] for body in found]

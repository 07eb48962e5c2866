"""`connect` and `disconnect`: who knows whom afterwards, and every refusal before the first change."""

from __future__ import annotations

import base64

import pytest
import yaml

from certs import bundle
from k8s.resource import SECRET, SERVICE
from kvstore.config import HostAlias, parse
from tests.cli.conftest import Clusters

CONNECT = ("connect", "--context", "east", "--destination-context", "west")


async def known(clusters: Clusters, cluster: str, secret: str = "cilium-kvstoremesh") -> dict[str, str]:
    """The peers' files of a cluster: how KVStoreMesh reaches them."""
    found = await clusters.get(cluster, SECRET, secret)
    assert found is not None
    return {name: base64.b64decode(text).decode() for name, text in (found.get("data") or {}).items()}


async def test_both_sides_learn_how_to_reach_each_other(clusters: Clusters) -> None:
    await clusters.enable()
    result = await clusters.run(*CONNECT)
    assert result.exit_code == 0, result.output
    assert set(await known(clusters, "west")) == {"east"}
    config = parse((await known(clusters, "east"))["west"], "west")
    assert config.endpoints == ("https://west.mesh.cilium.io:2379",)
    assert config.host_aliases == (HostAlias("west.mesh.cilium.io", ("192.0.2.2",)),)
    assert str(config.cert_file) == "/var/lib/cilium/clustermesh/common-etcd-client.crt"


async def test_agents_are_led_to_the_copies_in_their_own_cluster(clusters: Clusters) -> None:
    await clusters.enable()
    await clusters.run(*CONNECT)
    agents = await known(clusters, "east", "cilium-clustermesh")
    assert set(agents) == {"west"}
    config = parse(agents["west"], "west")
    assert config.endpoints == ("https://clustermesh-apiserver.kube-system.svc:2379",)
    assert str(config.cert_file) == "/var/lib/cilium/clustermesh/local-etcd-client.crt"
    await clusters.run("disconnect", *CONNECT[1:])
    assert await known(clusters, "east", "cilium-clustermesh") == await known(clusters, "east") == {}


async def test_without_kvstoremesh_agents_are_led_to_the_peer_itself(clusters: Clusters) -> None:
    await clusters.enable("--enable-kvstoremesh", "false")
    await clusters.run(*CONNECT)
    config = parse((await known(clusters, "east", "cilium-clustermesh"))["west"], "west")
    assert config.endpoints == ("https://west.mesh.cilium.io:2379",)
    assert await known(clusters, "east") == {}


async def test_turning_kvstoremesh_off_and_on_leads_to_the_same_peers(clusters: Clusters) -> None:
    await clusters.enable()
    await clusters.run(*CONNECT)
    secrets = ("cilium-clustermesh", "cilium-kvstoremesh")
    before = [await known(clusters, "east", name) for name in secrets]
    turn = ("enable", "--context", "east", "--service-type", "LoadBalancer", "--enable-kvstoremesh")
    assert (await clusters.run(*turn, "false")).exit_code == 0
    assert [await known(clusters, "east", name) for name in secrets] == [before[1], {}]
    unchanged = await clusters.run(*turn[:-1])
    assert (unchanged.exit_code, unchanged.stderr.count("changed")) == (0, 0)
    assert (await clusters.run(*turn, "true")).exit_code == 0
    assert [await known(clusters, "east", name) for name in secrets] == before


async def test_connecting_again_changes_nothing(clusters: Clusters) -> None:
    await clusters.enable()
    await clusters.run(*CONNECT)
    before = await clusters.everything()
    assert (await clusters.run(*CONNECT)).exit_code == 0
    assert await clusters.everything() == before


async def test_unicast_tells_only_the_local_cluster(clusters: Clusters) -> None:
    await clusters.enable()
    assert (await clusters.run(*CONNECT, "--connection-mode", "unicast")).exit_code == 0
    assert set(await known(clusters, "east")) == {"west"}
    assert await known(clusters, "west") == {}


async def test_endpoints_given_by_hand_are_used_as_they_are(clusters: Clusters) -> None:
    await clusters.enable()
    result = await clusters.run(
        *CONNECT,
        "--destination-endpoint",
        "203.0.113.1:32379,203.0.113.2:32379",
        "--source-endpoint",
        "203.0.113.9:1",
    )
    assert result.exit_code == 0, result.output
    config = parse((await known(clusters, "east"))["west"], "west")
    assert config.endpoints == ("https://west.mesh.cilium.io:32379",)
    assert config.host_aliases[0].ips == ("203.0.113.1", "203.0.113.2")


@pytest.mark.parametrize("given", ["west.example:2379", "203.0.113.1", "203.0.113.1:0", "203.0.113.1:65536"])
async def test_an_endpoint_that_is_none_is_refused_before_anything_is_asked(
    clusters: Clusters, given: str
) -> None:
    result = await clusters.run(*CONNECT, "--destination-endpoint", given)
    assert (result.exit_code, "is not IP:PORT" in result.stderr) == (2, True)


async def test_disconnect_forgets_on_both_sides_and_nothing_else(clusters: Clusters) -> None:
    await clusters.enable()
    await clusters.run(*CONNECT)
    result = await clusters.run("disconnect", *CONNECT[1:])
    assert result.exit_code == 0, result.output
    assert await known(clusters, "east") == {}
    assert await known(clusters, "west") == {}
    again = await clusters.run("disconnect", *CONNECT[1:])
    assert again.exit_code == 0
    assert "does not know" in again.stderr


@pytest.mark.parametrize(
    ("name", "number", "capacity", "said"),
    [
        ("default", "2", "255", "the cluster has no name: run 'clustermesh disable --context west'"),
        ("west", "0", "255", "the cluster has no id: run 'clustermesh disable --context west'"),
        ("west", "x", "255", "cluster id 'x' is not between 1 and 255"),
        ("west", "256", "255", "cluster id '256' is not between 1 and 255"),
        ("West", "2", "255", "cluster name 'West' must be lower-case"),
        ("east", "2", "255", "are both named 'east'"),
        ("west", "1", "255", "both have the id 1"),
        ("west", "2", "511", "differ in max-connected-clusters (255 and 511)"),
        ("west", "2", "77", "max-connected-clusters is '77', not 255 or 511"),
    ],
)
async def test_clusters_that_cannot_mesh_are_refused_before_anything_changes(
    name: str, number: str, capacity: str, said: str, clusters: Clusters
) -> None:
    await clusters.enable()
    await clusters.name("west", name, number, capacity)
    before = await clusters.everything()
    result = await clusters.run(*CONNECT)
    assert result.exit_code == 1
    assert said in result.stderr
    assert all(line.startswith("error: ") for line in result.stderr.splitlines())
    assert await clusters.everything() == before


async def test_a_cluster_without_a_mesh_is_refused_with_the_command_that_enables_it(
    clusters: Clusters,
) -> None:
    result = await clusters.run(*CONNECT)
    assert result.exit_code == 1
    assert "run 'clustermesh enable --context west'" in result.stderr


async def test_a_mesh_without_an_address_is_refused(clusters: Clusters) -> None:
    await clusters.enable()
    no_address = {"status": {"loadBalancer": None}}
    await clusters.client("west").merge_patch(
        SERVICE, "clustermesh-apiserver", no_address, "kube-system", "status"
    )
    result = await clusters.run(*CONNECT)
    assert result.exit_code == 1
    assert "clustermesh status --context west --wait" in result.stderr


async def test_different_authorities_are_refused_unless_both_are_to_be_trusted(clusters: Clusters) -> None:
    await clusters.enable(share=False)
    before = await clusters.everything()
    refused = await clusters.run(*CONNECT)
    assert refused.exit_code == 1
    assert "--allow-mismatching-ca" in refused.stderr
    assert await clusters.everything() == before
    allowed = await clusters.run(*CONNECT, "--allow-mismatching-ca")
    assert allowed.exit_code == 0, allowed.output
    for cluster in ("east", "west"):
        for leaf in ("server", "remote"):
            found = await clusters.get(cluster, SECRET, f"clustermesh-apiserver-{leaf}-cert")
            assert found is not None
            assert len(bundle.parse(base64.b64decode(found["data"]["ca.crt"])).key_ids) == 2
    # and stays so when the mesh is enabled again
    await clusters.run("enable", "--context", "west", "--service-type", "LoadBalancer")
    found = await clusters.get("west", SECRET, "clustermesh-apiserver-server-cert")
    assert found is not None
    assert len(bundle.parse(base64.b64decode(found["data"]["ca.crt"])).key_ids) == 2


async def test_a_dry_run_prints_what_would_be_applied_without_keys_and_changes_nothing(
    clusters: Clusters,
) -> None:
    await clusters.enable(share=False)
    before = await clusters.everything()
    shown = await clusters.run(*CONNECT, "--allow-mismatching-ca", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert await clusters.everything() == before
    assert "PRIVATE" not in shown.stdout
    assert "# cluster east" in shown.stdout
    bodies = [body for body in yaml.safe_load_all(shown.stdout) if body]
    names = [body["metadata"]["name"] for body in bodies]
    assert names.count("cilium-kvstoremesh") == names.count("clustermesh-apiserver-server-cert") == 2
    assert all(body.get("data", {}).get("tls.key") in {None, "<not shown>"} for body in bodies)
    assert (await clusters.run(*CONNECT, "--allow-mismatching-ca")).exit_code == 0
    told = {body["metadata"]["name"]: body for body in bodies[: len(bodies) // 2]}
    for name in ("cilium-kvstoremesh", "cilium-clustermesh", "clustermesh-apiserver-remote-cert"):
        found = await clusters.get("east", SECRET, name)
        assert found is not None
        shared = told[name]["data"].items() - {("tls.key", "<not shown>")}
        assert shared <= found["data"].items()

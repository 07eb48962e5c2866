"""Every check before a connection, provoked in a cluster: `connect` refuses and changes nothing."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certs import profile
from certs.issue import Authority, Issued
from certs.profile import Profile
from cli import secret
from cli.check import Check
from k8s.resource import CONFIGMAP, NODE, SECRET, SERVICE
from tests.cli.conftest import Clusters

Break = Callable[[Clusters], Awaitable[None]]
CONNECT = ("connect", "--context", "east", "--destination-context", "west")
SPACE = "kube-system"
APISERVER = "clustermesh-apiserver"
SERVES = profile.server(SPACE)
NOW = datetime.now(UTC)


def called(name: str, number: str, capacity: str = "255") -> Break:
    async def broken(clusters: Clusters) -> None:
        await clusters.name("west", name, number, capacity)

    return broken


def configured(number: str, **more: str) -> Break:
    async def broken(clusters: Clusters) -> None:
        await clusters.name("west", "west", number)
        data = {key.replace("_", "-"): value for key, value in more.items()}
        await clusters.client("west").merge_patch(CONFIGMAP, "cilium-config", {"data": data}, SPACE)

    return broken


def serving(of: Profile, *, begun: datetime = NOW, days: int = 30, foreign: bool = False) -> Break:
    """A certificate for west's server by the authority that both share, or by nobody's."""

    async def broken(clusters: Clusters) -> None:
        found = await clusters.get("west", SECRET, "cilium-ca")
        assert found is not None
        ca = {key: base64.b64decode(text) for key, text in found["data"].items()}
        own = Authority.load(ca["ca.crt"], ca["ca.key"])
        authority = Authority.create(NOW) if foreign else own
        await stored(clusters, authority.issue(of, begun, validity=timedelta(days=days)))

    return broken


async def stored(clusters: Clusters, issued: Issued) -> None:
    pair = {"tls.crt": issued.certificate_pem, "tls.key": issued.key_pem}
    data = {key: base64.b64encode(pem).decode() for key, pem in pair.items()}
    await clusters.client("west").merge_patch(SECRET, secret.SERVER, {"data": data}, SPACE)


async def disabled(clusters: Clusters) -> None:
    await clusters.client("west").delete(SERVICE, APISERVER, SPACE)


async def without_address(clusters: Clusters) -> None:
    gone = {"status": {"loadBalancer": None}}
    await clusters.client("west").merge_patch(SERVICE, APISERVER, gone, SPACE, "status")


async def without_authority(clusters: Clusters) -> None:
    for name in ("cilium-ca", *secret.LEAVES):
        await clusters.client("west").delete(SECRET, name, SPACE)


async def with_its_own_authority(clusters: Clusters) -> None:
    await without_authority(clusters)
    result = await clusters.run("enable", "--context", "west", "--service-type", "LoadBalancer")
    assert result.exit_code == 0, result.output


async def with_easts_pod_cidr(clusters: Clusters) -> None:
    for name, cidr in (("east", "10.7.0.0/16"), ("west", "10.7.3.0/24")):
        body = {"metadata": {"name": f"{name}-1"}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}}
        await clusters.client(name).create(NODE, body)


async def at_an_address_where_nobody_listens(clusters: Clusters) -> None:
    """Loopback's own, and a port that nothing may have."""
    for name in ("east", "west"):
        await clusters.give_address(name, "127.0.0.1")
        patch = {"spec": {"ports": [{"name": "etcd", "port": 1, "targetPort": 1, "protocol": "TCP"}]}}
        await clusters.client(name).merge_patch(SERVICE, APISERVER, patch, SPACE)


CASES: dict[Check, tuple[Break, str]] = {
    Check.CLUSTER_NAME_UNSET: (called("default", "2"), "west: the cluster has no name"),
    Check.CLUSTER_NAME_INVALID: (called("West", "2"), "'West'"),
    Check.CLUSTER_ID_UNSET: (called("west", "0"), "west: the cluster has no id"),
    Check.CLUSTER_ID_RANGE: (called("west", "256"), "'256' is not between 1 and 255"),
    Check.CAPACITY_INVALID: (called("west", "2", "77"), "'77', not 255 or 511"),
    Check.UPPER_HALF_CLUSTER_ID: (configured("128", ipam="eni"), "id 128 has bit 0x80"),
    Check.MESH_NOT_ENABLED: (disabled, "west: the mesh is not enabled"),
    Check.NO_ADDRESS: (without_address, "has no address yet"),
    Check.CA_MISSING: (without_authority, "west: no certificate authority found"),
    Check.SAME_CLUSTER_NAME: (called("east", "2"), "are both named 'east'"),
    Check.SAME_CLUSTER_ID: (called("west", "1"), "both have the id 1"),
    Check.CAPACITY_DIFFERS: (called("west", "2", "511"), "(255 and 511)"),
    Check.ROUTING_MODE_DIFFERS: (configured("2", routing_mode="native"), "tunnel and native"),
    Check.TUNNEL_DIFFERS: (configured("2", tunnel_port="6081"), "tunnel-port (8472 and 6081)"),
    Check.CA_MISMATCH: (with_its_own_authority, "different certificate authorities"),
    Check.OVERLAPPING_POD_CIDRS: (with_easts_pod_cidr, "10.7.0.0/16 and 10.7.3.0/24"),
    Check.ENDPOINT_UNREACHABLE: (at_an_address_where_nobody_listens, "127.0.0.1:1 does not answer"),
    Check.SERVER_CERTIFICATE_NAME: (serving(replace(SERVES, dns_names=("other.example",))), "Secret"),
    Check.SERVER_CERTIFICATE_USE: (serving(replace(profile.remote(), dns_names=SERVES.dns_names)), "Secret"),
    Check.SERVER_CERTIFICATE_CHAIN: (serving(SERVES, foreign=True), f"Secret {secret.SERVER}"),
    Check.SERVER_CERTIFICATE_EXPIRED: (serving(SERVES, begun=NOW - timedelta(days=9), days=1), "expired"),
    Check.SERVER_CERTIFICATE_CLOCK: (serving(SERVES, begun=NOW + timedelta(days=1)), "not valid"),
}


@pytest.mark.parametrize("check", CASES, ids=lambda check: check.label)
async def test_connect_refuses_by_name_and_changes_nothing(check: Check, clusters: Clusters) -> None:
    broken, reason = CASES[check]
    await clusters.enable()
    await broken(clusters)
    before = await clusters.everything()
    dial = "--dial" if check is Check.ENDPOINT_UNREACHABLE else "--no-dial"
    result = await clusters.run(*CONNECT, dial)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.endswith(f"({check.label})")]
    assert lines, result.stderr
    assert any(line.startswith("error: ") and reason in line for line in lines)
    assert await clusters.everything() == before


def test_no_check_before_a_connection_is_left_out() -> None:
    everything = list(Check)
    assert list(CASES) == everything[: everything.index(Check.PEER_DOWN)]

"""Other clusters' backends as slices: none lost, none twice, no slice too large."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustermesh_operator.sync import MAX_ENDPOINTS, SYNC, is_synced, slices
from k8s.core import Service, ServiceSpec
from k8s.objects import ObjectMeta
from mesh.ip import family
from mesh.preference import GLOBAL
from mesh.service import GlobalService, Port, Zone

LOCAL = Service(metadata=ObjectMeta(name="web", namespace="shop", uid="u"))
HTTP, DNS = {"http": Port("TCP", 80)}, {"": Port("UDP", 53)}
ADDRESSES = st.sampled_from([f"10.2.{n // 200}.{n % 200}" for n in range(250)] + ["fd02::1", "fd02::2"])


def west(backends: dict[str, Any], **more: Any) -> GlobalService:
    return GlobalService("west", "shop", "web", backends=backends, **more)


@given(st.dictionaries(ADDRESSES, st.sampled_from([HTTP, DNS])))
def test_each_backend_is_in_one_slice_of_its_family_and_ports(backends: dict[str, Any]) -> None:
    made = list(slices(LOCAL, west(backends)))
    found = [
        (address, body)
        for body in made
        for endpoint in body["endpoints"]
        for address in endpoint["addresses"]
    ]
    assert sorted(address for address, _ in found) == sorted(backends)
    for address, body in found:
        assert body["addressType"] == f"IPv{family(address)}"
        (port,) = body["ports"]
        assert {port.get("name", ""): Port(port["protocol"], port["port"])} == backends[address]
    assert len({body["metadata"]["name"] for body in made}) == len(made)


def test_a_slice_has_no_more_endpoints_than_kubernetes_own() -> None:
    backends = {f"10.2.{n // 200}.{n % 200}": HTTP for n in range(250)}
    assert [len(body["endpoints"]) for body in slices(LOCAL, west(backends))] == [
        MAX_ENDPOINTS,
        MAX_ENDPOINTS,
        50,
    ]


def test_host_names_and_zones_are_kept() -> None:
    remote = west({"10.2.0.1": HTTP}, hostnames={"10.2.0.1": "web-0"}, zones={"10.2.0.1": Zone("a", ("b",))})
    (body,) = slices(LOCAL, remote)
    (endpoint,) = body["endpoints"]
    assert (endpoint["hostname"], endpoint["zone"]) == ("web-0", "a")
    assert endpoint["hints"] == {"forZones": [{"name": "b"}]}


@pytest.mark.parametrize(
    ("annotations", "cluster_ip", "synced"),
    [
        ({}, "None", False),
        ({GLOBAL[0]: "true"}, "None", True),
        ({GLOBAL[1]: "true"}, "None", False),
        ({GLOBAL[0]: "true"}, "172.20.9.7", False),
        ({GLOBAL[0]: "true", SYNC: "true"}, "172.20.9.7", True),
        ({GLOBAL[0]: "true", SYNC: "false"}, "None", False),
    ],
)
def test_annotations_say_which_services_are_synchronised(
    annotations: dict[str, str], cluster_ip: str, synced: bool
) -> None:
    metadata = ObjectMeta(name="web", namespace="shop", annotations=annotations)
    assert is_synced(Service(metadata=metadata, spec=ServiceSpec(clusterIP=cluster_ip))) == synced

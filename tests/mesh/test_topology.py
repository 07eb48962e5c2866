"""Who is for our zone, over all ways in which hints can be given."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.addressing import ClusterID
from mesh.localservice import Frontend, LocalBackend
from mesh.matching import Backend, ServicePort
from mesh.service import GlobalService, Port, Zone
from mesh.topology import in_zone, is_zonal
from tests.mesh.whole import WholeService, backends_for

GLOBAL = {"service.cilium.io/global": "true"}
HTTP = {"http": Port("TCP", 8080)}
FRONT = Frontend("172.20.1.1", 80, "TCP")
A, B = Zone("a", ("a",)), Zone("b", ("b",))

hints = st.lists(st.sampled_from("abc"), max_size=2, unique=True).map(lambda names: Zone("", tuple(names)))
clusters = st.dictionaries(st.sampled_from(["@", "west", "north"]), st.lists(hints, max_size=4))


@given(clusters, st.sampled_from("abc"))
def test_a_zone_has_its_own_where_all_say_whom_they_are_for(said: dict[str, list[Zone]], zone: str) -> None:
    members = {
        name: [Backend(f"10.{number}.0.{place}", 80, "TCP", number) for place in range(len(zones))]
        for number, (name, zones) in enumerate(said.items())
    }
    told = {
        name: {backend.ip: hint for backend, hint in zip(members[name], zones, strict=True)}
        for name, zones in said.items()
    }
    every = [hint for zones in said.values() for hint in zones]
    kept = in_zone(zone, members, told)
    if all(hint.for_zones for hint in every) and any(zone in hint.for_zones for hint in every):
        near = [
            backend
            for name in members
            for backend in members[name]
            if zone in told[name][backend.ip].for_zones
        ]
        assert [backend for backends in kept.values() for backend in backends] == near
    else:
        assert kept == members


@pytest.mark.parametrize(
    ("annotations", "distribution", "expected"),
    [
        ({}, "", False),
        ({"service.kubernetes.io/topology-mode": "Auto"}, "", True),
        ({"service.kubernetes.io/topology-mode": "Disabled"}, "", False),
        ({"service.kubernetes.io/topology-aware-hints": "auto"}, "", True),
        (
            {
                "service.kubernetes.io/topology-mode": "Disabled",
                "service.kubernetes.io/topology-aware-hints": "auto",
            },
            "",
            False,
        ),
        ({}, "PreferClose", True),
        ({}, "PreferSameZone", True),
        ({}, "Elsewhere", False),
    ],
)
def test_a_service_asks_for_it_in_one_of_three_ways(
    annotations: dict[str, str], distribution: str, expected: bool
) -> None:
    assert is_zonal(annotations, distribution) is expected


def chosen(service: WholeService, remote: GlobalService, zone: str) -> list[str]:
    return [backend.ip for backend in backends_for(service, [remote], zone=zone)[FRONT]]


def test_remote_backends_of_our_zone_serve_beside_local_ones_and_affinity_comes_first() -> None:
    near = (LocalBackend("10.1.0.1", HTTP, zone=A), LocalBackend("10.1.0.2", HTTP, zone=B))
    ports = (ServicePort("http", "TCP", 80),)
    service = WholeService("shop", "web", GLOBAL, (FRONT.ip,), ports, backends=near, zonal=True)
    remote = GlobalService(
        *("west", "shop", "web", {}, {"10.2.0.1": HTTP, "10.2.0.2": HTTP}),
        zones={"10.2.0.1": A, "10.2.0.2": B},
        cluster_id=ClusterID(2),
    )
    everything = ["10.1.0.1", "10.1.0.2", "10.2.0.1", "10.2.0.2"]
    assert chosen(service, remote, "a") == ["10.1.0.1", "10.2.0.1"]
    assert chosen(service, remote, "c") == chosen(service, remote, "") == everything
    assert chosen(replace(service, zonal=False), remote, "a") == everything
    at_home = replace(service, annotations=GLOBAL | {"service.cilium.io/affinity": "local"})
    assert chosen(at_home, remote, "a") == ["10.1.0.1"]
    elsewhere = replace(at_home, backends=near[1:])
    assert chosen(elsewhere, remote, "a") == ["10.1.0.2"]  # at home, though not of our zone
    silent = replace(remote, zones={"10.2.0.1": A})
    assert chosen(service, silent, "a") == everything

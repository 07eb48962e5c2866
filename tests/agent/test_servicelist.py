"""The agent's list of services: which backends are there by preference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.desired import Clock
from agent.ownslices import Slice
from agent.servicelist import listed
from agent.services import Services
from mesh.addressing import ClusterID
from mesh.localservice import LocalBackend, LocalService
from mesh.matching import ServicePort
from mesh.service import GlobalService, Port

HTTP = {"http": Port("TCP", 8080)}
ANYWHERE = dict.fromkeys(("extTrafficPolicy", "intTrafficPolicy", "trafficPolicy"), "Cluster")
OURS, THEIRS = "10.1.1.1", "10.2.1.1"


def preferred(affinity: str, *, has_own: bool = True) -> dict[str, object]:
    services = Services(Clock(), cluster="east", node="node-1")
    services.start()
    annotations = {"service.cilium.io/global": "true", "service.cilium.io/affinity": affinity}
    ports = (ServicePort("http", "TCP", 80),)
    services.set_local("shop/web", LocalService("shop", "web", annotations, ("172.20.1.9",), ports))
    services.set_slice("shop/web-1", Slice("shop/web", (LocalBackend(OURS, HTTP),) if has_own else ()))
    remote = GlobalService("west", "shop", "web", backends={THEIRS: HTTP}, cluster_id=ClusterID(2))
    services.set_remote("west", "shop/web", remote)
    ((spec,),) = (found.values() for found in listed(services))
    assert spec["flags"] == {"type": "ClusterIP", "namespace": "shop", "name": "web", **ANYWHERE}
    assert spec["frontend-address"] == {
        "ip": "172.20.1.9",
        "port": 80,
        "protocol": "TCP",
        "scope": "external",
    }
    return {backend["ip"]: backend.get("preferred") for backend in spec["backend-addresses"]}


@pytest.mark.parametrize(
    ("affinity", "has_own", "marks"),
    [
        ("none", True, {OURS: None, THEIRS: None}),
        ("local", True, {OURS: True}),
        ("local", False, {THEIRS: None}),
        ("remote", True, {THEIRS: True}),
    ],
)
def test_what_the_affinity_prefers_is_marked(affinity: str, has_own: bool, marks: dict[str, object]) -> None:
    assert preferred(affinity, has_own=has_own) == marks


def test_policies_of_traffic_and_the_port_where_balancers_ask_are_told() -> None:
    services = Services(Clock(), cluster="east")
    services.start()
    local = LocalService("shop", "web", {}, ("172.20.1.9",), (ServicePort("http", "TCP", 80),))
    for outside, port in ((True, 30123), (False, 0)):
        told = replace(local, outside_node_only=outside, node_only=not outside, health_port=port)
        services.set_local("shop/web", told)
        flags = listed(services)[0]["spec"]["flags"]
        assert flags["extTrafficPolicy"] == flags["trafficPolicy"] == ("Local" if outside else "Cluster")
        assert flags["intTrafficPolicy"] == ("Cluster" if outside else "Local")
        assert flags.get("healthCheckNodePort", 0) == port

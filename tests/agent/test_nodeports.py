"""Node ports among the agent's frontends: where they are, and whose backends they have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.desired import Clock
from agent.nodeports import ANY_NODE, places
from agent.ownslices import Slice
from agent.services import Services
from bpf.lb_map import (
    FLAG_DELEGATE_IF_LOCAL,
    FLAG_EXTERNAL_LOCAL,
    FLAG_INTERNAL_LOCAL,
    FLAG_NODE_PORT,
    FLAG_ROUTABLE,
)
from bpf.lb_wanted import Master
from mesh.addressing import ClusterID
from mesh.localservice import Frontend, LocalBackend, LocalService
from mesh.matching import ServicePort
from mesh.service import GlobalService, Port

NODE, NODE6 = "198.18.1.11", "fd00:18::1:1"
HTTP = {"http": Port("TCP", 8080)}
CLUSTER_IP = Frontend("172.20.1.5", 80, "TCP")
OUTSIDE, INSIDE = Frontend(NODE, 30_080, "TCP"), Frontend(ANY_NODE, 30_080, "TCP")
PLAIN = FLAG_NODE_PORT | FLAG_ROUTABLE
WEB = LocalService(
    "shop",
    "web",
    annotations={"service.cilium.io/global": "true"},
    cluster_ips=("172.20.1.5",),
    ports=(ServicePort("http", "TCP", 80, 30_080),),
)
REMOTE = GlobalService("west", "shop", "web", backends={"10.2.1.1": HTTP}, cluster_id=ClusterID(2))


def services(node_ips: tuple[str, ...] = (NODE,)) -> Services:
    made = Services(Clock(), cluster="east", node="node-1", node_ips=node_ips)
    made.start()
    backends = (
        LocalBackend("10.1.1.1", HTTP, node="node-1"),
        LocalBackend("10.1.2.1", HTTP, node="node-2"),
    )
    made.set_slice("shop/web-1", Slice("shop/web", backends))
    made.set_remote("west", "shop/web", REMOTE)
    return made


def addresses(made: Services) -> dict[Frontend, list[str]]:
    return {frontend: [b.ip for b in backends] for frontend, backends in made.wanted.entries.items()}


def test_a_node_port_has_the_backends_of_every_cluster_as_the_cluster_ip_has() -> None:
    made = services()
    made.set_local("shop/web", WEB)
    everywhere = ["10.1.1.1", "10.1.2.1", "10.2.1.1"]
    assert addresses(made) == {CLUSTER_IP: everywhere, OUTSIDE: everywhere, INSIDE: everywhere}
    assert made.masters.entries == dict.fromkeys((OUTSIDE, INSIDE), Master(flags=PLAIN))
    assert set(made.owners.values()) == {"shop/web"}


def test_a_service_that_stops_being_a_node_port_leaves_nothing() -> None:
    made = services()
    made.set_local("shop/web", replace(WEB, sticky=60))
    assert {each: made.master(each).sticky for each in made.wanted.entries} == dict.fromkeys(
        (CLUSTER_IP, OUTSIDE, INSIDE), 60
    )
    made.set_local("shop/web", replace(WEB, ports=(ServicePort("http", "TCP", 80),)))
    assert set(made.wanted.entries) == {CLUSTER_IP}
    assert made.masters.entries == {}


@pytest.mark.parametrize("policy", ["outside", "inside"])
def test_a_policy_of_one_kind_of_client_leaves_the_other_s_backends(policy: str) -> None:
    made = services()
    local = policy == "outside"
    made.set_local("shop/web", replace(WEB, outside_node_only=local, node_only=not local))
    found, own, everywhere = addresses(made), ["10.1.1.1"], ["10.1.1.1", "10.1.2.1", "10.2.1.1"]
    assert found[OUTSIDE] == (own if local else everywhere)
    assert found[INSIDE] == found[CLUSTER_IP] == (everywhere if local else own)
    assert made.master(OUTSIDE).flags == PLAIN | (FLAG_EXTERNAL_LOCAL if local else FLAG_INTERNAL_LOCAL)


def test_a_change_of_a_slice_reaches_every_place() -> None:
    made = services()
    made.set_local("shop/web", replace(WEB, outside_node_only=True))
    made.set_slice("shop/web-1", Slice("shop/web", (LocalBackend("10.1.1.2", HTTP, node="node-1"),)))
    found = addresses(made)
    assert found[OUTSIDE] == ["10.1.1.2"]
    assert found[CLUSTER_IP] == found[INSIDE] == ["10.1.1.2", "10.2.1.1"]


def test_a_load_balancer_s_address_on_this_node_is_no_node_port() -> None:
    """A service of another number of the same port: what is its own address counts first."""
    made = services()
    made.set_local("shop/web", replace(WEB, cluster_ips=("172.20.1.5", NODE), ports=(
        ServicePort("http", "TCP", 30_080, 30_080),
    )))  # fmt: skip
    assert OUTSIDE not in made.masters.entries
    assert made.master(INSIDE).flags == PLAIN


@pytest.mark.parametrize(("target", "may"), [(30_080, True), (8080, False), (0, False)])
def test_a_process_of_the_node_may_listen_where_backends_have_the_node_port_s_number(
    target: int, may: bool
) -> None:
    made = services()
    ports = (
        ServicePort("http", "TCP", 80, 30_080, target),
        ServicePort("dns", "UDP", 30_080, 30_081, 30_080),
    )
    made.set_local("shop/web", replace(WEB, ports=ports))
    flags = PLAIN | (FLAG_DELEGATE_IF_LOCAL if may else 0)
    assert [made.master(each).flags for each in (OUTSIDE, INSIDE)] == [flags, flags]
    assert made.master(Frontend(ANY_NODE, 30_081, "UDP")).flags == PLAIN


def test_without_an_address_of_the_node_there_are_no_node_ports() -> None:
    made = services(())
    made.set_local("shop/web", WEB)
    assert set(made.wanted.entries) == {CLUSTER_IP}


def test_recovered_backends_of_a_node_port_stay_until_their_owner_speaks() -> None:
    made = Services(Clock(), cluster="east", node="node-1", node_ips=(NODE,))
    before = services()
    before.set_local("shop/web", WEB)
    made.set_recovered({ClusterID(2): {OUTSIDE: before.wanted.entries[OUTSIDE][-1:]}})
    made.set_local("shop/web", WEB)
    made.start()
    assert addresses(made)[OUTSIDE] == ["10.2.1.1"]
    made.forget_recovered(ClusterID(2))
    assert addresses(made)[OUTSIDE] == []


@pytest.mark.parametrize(
    ("cluster_ips", "places_"),
    [
        (("172.20.1.5", "fd00:20:1::5"), [NODE, NODE6, "0.0.0.0", "::"]),
        (("fd00:20:1::5",), [NODE6, "::"]),
        (("172.20.1.5",), [NODE, "0.0.0.0"]),
    ],
)
def test_a_node_port_is_at_every_node_s_address_of_the_service_s_families(
    cluster_ips: tuple[str, ...], places_: list[str]
) -> None:
    service = replace(WEB, cluster_ips=cluster_ips)
    assert [ip for place in places(service, (NODE, NODE6)) for ip in place.cluster_ips] == places_
    local = places(replace(service, outside_node_only=True), (NODE, NODE6))
    assert [ip for place in local for ip in place.cluster_ips] == places_
    assert [place.node_only for place in local] == [True, False]


def test_a_node_without_an_address_of_a_family_serves_it_to_nobody_outside() -> None:
    service = replace(WEB, cluster_ips=("fd00:20:1::5",), outside_node_only=True)
    assert [place.cluster_ips for place in places(service, (NODE,))] == [("::",)]


def test_a_node_port_of_ipv6_leads_to_backends_of_ipv6() -> None:
    made = services((NODE, NODE6))
    made.set_local("shop/web", replace(WEB, cluster_ips=("172.20.1.5", "fd00:20:1::5")))
    six = (LocalBackend("fd00:10:1:1::5", HTTP, node="node-1"),)
    made.set_slice("shop/web-6", Slice("shop/web", six))
    assert "fd00:10:1:1::5" not in addresses(made)[INSIDE]
    for ip in ("::", NODE6):
        assert addresses(made)[Frontend(ip, 30_080, "TCP")] == ["fd00:10:1:1::5"]
        assert made.master(Frontend(ip, 30_080, "TCP")).flags == PLAIN

"""Addresses that several services claim, and which of a service's own lists counts."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent.desired import Clock
from agent.frontends import Frontends
from agent.services import Services
from bpf.lb_map import FLAG_EXTERNAL_IP
from bpf.lb_wanted import PLAIN, Master
from mesh.localservice import Frontend, LocalService
from mesh.matching import Backend, ServicePort
from tests.agent.test_services import FRONT, ips, piece, remote, service, started

SHARED = Frontend("203.0.113.7", 80, "TCP")


def outside(name: str, ip: str = SHARED.ip, cluster_ip: str = "172.20.1.8") -> LocalService:
    return replace(service(name, cluster_ip), cluster_ips=(cluster_ip, ip), external_ips=(ip,))


def two() -> Services:
    services = started()
    services.set_local("shop/web", outside("web"))
    services.set_slice("shop/web-1", piece("10.1.1.5"))
    services.set_local("shop/api", outside("api", cluster_ip="172.20.1.9"))
    services.set_slice("shop/api-1", piece("10.1.1.6", name="api"))
    return services


def test_an_external_address_stays_with_the_service_that_had_it_first() -> None:
    services = two()
    assert (ips(services, SHARED), services.owners[SHARED]) == (["10.1.1.5"], "shop/web")
    assert services.frontends("shop/api") == {Frontend("172.20.1.9", 80, "TCP")}
    assert services.problems() == {"shop/api": ("203.0.113.7:80/TCP is service shop/web's",)}
    services.set_slice("shop/api-1", piece("10.1.1.7", name="api"))
    services.set_local("shop/web", None)
    assert (ips(services, SHARED), services.owners[SHARED]) == (["10.1.1.7"], "shop/api")
    assert services.master(SHARED).flags & FLAG_EXTERNAL_IP
    assert services.problems() == {}


def test_who_waits_and_goes_leaves_nothing() -> None:
    services = two()
    services.set_local("shop/api", None)
    services.set_local("shop/web", None)
    assert not services.wanted.entries
    assert not services.owners


def test_nobody_takes_another_s_cluster_ip_by_calling_it_external() -> None:
    services = started()
    services.set_local("shop/evil", outside("evil", FRONT.ip))
    services.set_slice("shop/evil-1", piece("10.1.1.66", name="evil"))
    services.set_local("shop/web", service())
    services.set_slice("shop/web-1", piece("10.1.1.5"))
    assert (ips(services), services.master(FRONT)) == (["10.1.1.5"], PLAIN)
    services.set_slice("shop/evil-1", piece("10.1.1.67", name="evil"))
    assert ips(services) == ["10.1.1.5"]
    services.set_local("shop/web", None)
    assert ips(services) == ["10.1.1.67"]


KEYS = st.sampled_from(["shop/a", "shop/b", "shop/c"])
CLAIMS = st.lists(st.tuples(KEYS, st.sets(st.integers(1, 3)), st.booleans()), max_size=12)


@given(CLAIMS)
def test_after_any_claims_who_has_an_address_claims_it_and_the_given_count_before_the_said(
    steps: list[tuple[str, set[int], bool]],
) -> None:
    frontends, last = Frontends(Clock()), dict[str, tuple[dict[Frontend, tuple[Backend, ...]], bool]]()
    for number, (key, ports, is_said) in enumerate(steps):
        told = {Frontend(SHARED.ip, port, "TCP"): (Backend("10.1.1.5", number, "TCP", 0),) for port in ports}
        said_ips = (SHARED.ip,) if is_said else ()
        frontends.replace(key, told, dict.fromkeys(told, Master(number)), said_ips)
        last[key] = told, is_said
    claimed = {frontend for told, _ in last.values() for frontend in told}
    assert frontends.wanted.entries.keys() == frontends.owners.keys() == claimed
    for frontend, owner in frontends.owners.items():
        told, is_said = last[owner]
        assert frontends.wanted.entries[frontend] == told[frontend]
        if is_said:
            assert all(said for others, said in last.values() if frontend in others)
    waiting = {(key, f) for key, found in frontends.conflicts().items() for f in found}
    assert waiting == {(k, f) for k, (told, _) in last.items() for f in told if frontends.owners[f] != k}


def test_a_service_s_own_address_on_a_node_counts_before_its_node_port_there() -> None:
    services = Services(Clock(), node="node-1", node_ips=("198.18.1.11",))
    services.start()
    ports = (ServicePort("http", "TCP", 30080, node_port=30080),)
    local = replace(service(), cluster_ips=("172.20.1.5", "198.18.1.11"), ports=ports)
    services.set_local("shop/web", replace(local, external_ips=("198.18.1.11",), outside_node_only=True))
    services.set_slice("shop/web-1", piece("10.1.1.5"))
    at_node = Frontend("198.18.1.11", 30080, "TCP")
    assert ips(services, at_node) == ["10.1.1.5"], "inside the cluster any backend serves"
    assert services.master(at_node).flags & FLAG_EXTERNAL_IP


def test_a_backend_that_was_waited_for_in_vain_does_not_wait_again() -> None:
    now = [0.0]
    services = Services(Clock(), is_addressed=lambda ip: ip != "192.0.2.9", now=lambda: now[0])
    services.start()
    services.set_local("shop/web", service())
    services.set_remote("west", "shop/web", remote("10.2.1.5", "192.0.2.9"))
    now[0] = 6.0
    services.give_up_waiting()
    services.set_remote("west", "shop/web", remote("10.2.1.5", "10.2.1.6", "192.0.2.9"))
    assert ips(services) == ["10.2.1.5", "10.2.1.6", "192.0.2.9"]


def test_what_kubernetes_gave_twice_stays_until_it_is_given_back_and_goes_before_what_is_said() -> None:
    frontends, at = Frontends(Clock()), Frontend("172.20.1.5", 80, "TCP")

    def told(key: str, last: int, *said: str) -> None:
        frontends.replace(key, {at: (Backend(f"10.1.1.{last}", 80, "TCP", 0),)}, {at: PLAIN}, said)

    told("shop/old", 1)
    told("shop/evil", 2, at.ip)
    told("shop/new", 3)  # a list may tell of it before it tells that the old one has gone
    assert frontends.owners == {at: "shop/old"}
    frontends.replace("shop/old", {}, {})
    assert frontends.owners == {at: "shop/new"}
    assert frontends.wanted.entries == {at: (Backend("10.1.1.3", 80, "TCP", 0),)}

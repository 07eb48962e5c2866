"""Frontends and backends from pieces that come in any order."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from agent.desired import Clock
from agent.ownslices import Slice
from agent.services import Services
from bpf.lb_wanted import Master
from mesh.addressing import ClusterID
from mesh.localservice import Frontend, LocalBackend, LocalService
from mesh.matching import Backend, ServicePort
from mesh.service import GlobalService, Port, Zone

GLOBAL = {"service.cilium.io/global": "true"}
FRONT = Frontend("172.20.1.5", 80, "TCP")
HTTP = {"http": Port("TCP", 8080)}


def service(name: str = "web", ip: str = FRONT.ip, **annotations: str) -> LocalService:
    ports = (ServicePort("http", "TCP", 80),)
    return LocalService("shop", name, {**GLOBAL, **annotations}, (ip,), ports)


def piece(*ips: str, name: str = "web") -> Slice:
    return Slice(f"shop/{name}", tuple(LocalBackend(ip, HTTP) for ip in ips))


def remote(*ips: str, cluster: str = "west", number: int = 2) -> GlobalService:
    return GlobalService(cluster, "shop", "web", {}, dict.fromkeys(ips, HTTP), cluster_id=ClusterID(number))


def started() -> Services:
    services = Services(Clock())
    services.start()
    return services


def ips(services: Services, frontend: Frontend = FRONT) -> list[str]:
    return [backend.ip for backend in services.wanted.entries[frontend]]


def test_local_and_remote_backends_answer_together() -> None:
    services = started()
    services.set_local("shop/web", service())
    services.set_slice("shop/web-1", piece("10.1.1.5"))
    services.set_remote("west", "shop/web", remote("10.2.1.5"))
    assert services.wanted.entries == {
        FRONT: (Backend("10.1.1.5", 8080, "TCP", 0), Backend("10.2.1.5", 8080, "TCP", 2))
    }


def test_nothing_is_wanted_before_kubernetes_is_listed() -> None:
    services = Services(Clock())
    services.set_local("shop/web", service())
    assert services.wanted.entries == {}
    services.start()
    assert services.wanted.entries == {FRONT: ()}


def test_a_removed_service_takes_its_frontends_along_and_remote_backends_wait() -> None:
    services = started()
    services.set_remote("west", "shop/web", remote("10.2.1.5"))
    services.set_local("shop/web", service())
    services.set_local("shop/web", None)
    assert services.wanted.entries == {}
    services.set_local("shop/web", service())
    assert ips(services) == ["10.2.1.5"]


def test_an_address_that_moved_to_another_service_is_not_removed_with_the_old_one() -> None:
    services = started()
    services.set_local("shop/old", service("old"))
    services.set_local("shop/web", service())
    services.set_slice("shop/web-1", piece("10.1.1.5"))
    services.set_local("shop/old", None)
    assert ips(services) == ["10.1.1.5"]


def test_a_slice_that_changed_its_service_leaves_the_first() -> None:
    services = started()
    services.set_local("shop/web", service())
    services.set_slice("shop/s", piece("10.1.1.5"))
    services.set_slice("shop/s", piece("10.1.1.5", name="other"))
    assert ips(services) == []


def test_backends_of_a_silent_peer_stay_until_it_has_spoken() -> None:
    services = Services(Clock())
    services.set_recovered({ClusterID(2): {FRONT: (Backend("10.2.1.5", 8080, "TCP", 2),)}})
    services.set_local("shop/web", service())
    services.set_slice("shop/web-1", piece("10.1.1.5"))
    services.start()
    assert ips(services) == ["10.1.1.5", "10.2.1.5"]
    services.forget_recovered(ClusterID(2))
    assert ips(services) == ["10.1.1.5"]


def test_recovered_backends_obey_affinity_as_told_ones_do() -> None:
    services = started()
    services.set_recovered({ClusterID(2): {FRONT: (Backend("10.2.1.5", 8080, "TCP", 2),)}})
    services.set_local("shop/web", service(**{"service.cilium.io/affinity": "local"}))
    services.set_slice("shop/web-1", piece("10.1.1.5"))
    assert ips(services) == ["10.1.1.5"]
    services.set_slice("shop/web-1", None)
    assert ips(services) == ["10.2.1.5"]


def test_one_address_in_two_slices_has_the_ports_of_both() -> None:
    services = started()
    both = LocalService(
        "shop",
        "web",
        {},
        (FRONT.ip,),
        (ServicePort("http", "TCP", 80), ServicePort("dns", "UDP", 53)),
    )
    services.set_local("shop/web", both)
    services.set_slice("shop/a", piece("10.1.1.5"))
    dns = LocalBackend("10.1.1.5", {"dns": Port("UDP", 5353)})
    services.set_slice("shop/b", Slice("shop/web", (dns,)))
    assert ips(services) == ["10.1.1.5"]
    assert services.wanted.entries[Frontend(FRONT.ip, 53, "UDP")] == (Backend("10.1.1.5", 5353, "UDP", 0),)


def test_backends_that_do_not_answer_are_left_out_and_return() -> None:
    services = started()
    services.set_local("shop/web", service())
    services.set_slice("shop/web-1", piece("10.1.1.5"))
    services.set_remote("west", "shop/web", remote("10.2.1.5", "10.2.2.5"))
    services.set_withdrawn(frozenset({"10.2.2.5", "10.9.9.9"}))
    assert ips(services) == ["10.1.1.5", "10.2.1.5"]
    services.set_withdrawn(frozenset())
    assert ips(services) == ["10.1.1.5", "10.2.1.5", "10.2.2.5"]


def test_recovered_backends_that_do_not_answer_are_left_out_too() -> None:
    services = started()
    services.set_recovered({ClusterID(2): {FRONT: (Backend("10.2.1.5", 8080, "TCP", 2),)}})
    services.set_local("shop/web", service())
    services.set_slice("shop/web-1", piece("10.1.1.5"))
    assert services.remote_backends() == {"10.2.1.5"}
    services.set_withdrawn(frozenset({"10.2.1.5"}))
    assert ips(services) == ["10.1.1.5"]


def test_only_backends_that_a_global_service_may_use_are_probed() -> None:
    services = started()
    services.set_remote("west", "shop/web", remote("10.2.1.5"))
    assert services.remote_backends() == set()
    services.set_local("shop/web", service(**{"service.cilium.io/global": "false"}))
    assert services.remote_backends() == set()
    services.set_local("shop/web", service())
    assert services.remote_backends() == {"10.2.1.5"}


def test_the_zone_of_our_node_counts_once_it_is_known_and_only_where_that_is_on() -> None:
    for knows_zones, expected in ((True, ["10.1.1.5"]), (False, ["10.1.1.5", "10.1.1.6"])):
        services = Services(Clock(), knows_zones=knows_zones)
        services.start()
        services.set_local("shop/web", replace(service(), zonal=True))
        zones = {"10.1.1.5": Zone("a", ("a",)), "10.1.1.6": Zone("b", ("b",))}
        backends = [LocalBackend(ip, HTTP, zone=zone) for ip, zone in zones.items()]
        services.set_slice("shop/web-1", Slice("shop/web", tuple(backends)))
        assert ips(services) == ["10.1.1.5", "10.1.1.6"]
        services.set_zone("a")
        assert ips(services) == expected


def test_an_annotation_that_cannot_be_read_is_named() -> None:
    services = started()
    services.set_local("shop/web", service(**{"service.clustermesh.io/weights": "west"}))
    assert services.problems().keys() == {"shop/web"}


Step = tuple[str, str, tuple[str, ...]]
IPS = st.lists(st.sampled_from(["10.1.1.5", "10.1.1.6", "10.2.1.5"]), max_size=2, unique=True).map(tuple)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["service", "slice-a", "slice-b", "west", "north"]),
        st.sampled_from(["set", "gone"]),
        IPS,
    ),
    max_size=12,
)


def apply(services: Services, step: Step) -> None:
    what, action, addresses = step
    gone = action == "gone"
    match what:
        case "service":
            services.set_local("shop/web", None if gone else service())
        case "slice-a" | "slice-b":
            services.set_slice(f"shop/{what}", None if gone else piece(*addresses))
        case peer:
            number = {"west": 2, "north": 3}[peer]
            told = remote(*addresses, cluster=peer, number=number)
            services.set_remote(peer, "shop/web", None if gone else told)


@given(STEPS, st.randoms(use_true_random=False))
def test_only_the_last_word_of_each_source_counts(steps: list[Step], random: Random) -> None:
    one = started()
    for step in steps:
        apply(one, step)
    other = started()
    last = list({step[0]: step for step in steps}.values())
    random.shuffle(last)
    for step in last:
        apply(other, step)
    assert one.wanted.entries == other.wanted.entries


def test_a_backend_whose_address_nobody_has_told_waits_while_others_answer() -> None:
    now, known = [0.0], {"10.2.1.5"}
    services = Services(Clock(), is_addressed=known.__contains__, now=lambda: now[0])
    services.start()
    services.set_local("shop/web", service())
    services.set_remote("west", "shop/web", remote("10.2.1.5"))
    services.set_remote("west", "shop/web", remote("10.2.1.5", "10.2.1.6", "192.0.2.9"))
    assert ips(services) == ["10.2.1.5"]
    services.set_addressed(["10.2.1.6"])
    assert ips(services) == ["10.2.1.5", "10.2.1.6"]
    now[0] = 4.0
    services.give_up_waiting()
    assert ips(services) == ["10.2.1.5", "10.2.1.6"]
    now[0] = 6.0
    services.give_up_waiting()  # one outside of the mesh never gets an address there
    assert ips(services) == ["10.2.1.5", "10.2.1.6", "192.0.2.9"]


def test_a_backend_whose_address_nobody_has_told_is_used_when_there_is_no_other() -> None:
    services = Services(Clock(), is_addressed=lambda _: False)
    services.start()
    services.set_local("shop/web", service())
    services.set_remote("west", "shop/web", remote("10.2.1.5"))
    assert ips(services) == ["10.2.1.5"]


def test_session_affinity_follows_the_local_service_and_goes_with_it() -> None:
    services = started()
    services.set_local("shop/web", replace(service(), sticky=60))
    services.set_remote("west", "shop/web", remote("10.2.1.5"))
    assert services.masters.entries == {FRONT: Master(60)}
    services.masters.take_dirty()
    services.set_local("shop/web", replace(service(), sticky=90))
    assert services.masters.take_dirty().keys() == {FRONT}
    services.set_local("shop/web", service())
    assert services.masters.entries == {}
    services.set_local("shop/web", replace(service(), sticky=60))
    services.set_local("shop/web", None)
    assert services.masters.entries == services.wanted.entries == {}

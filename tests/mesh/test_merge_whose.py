"""Whose word counts, and what is remembered, where sources differ about one address."""

from __future__ import annotations

import gc
import weakref

from mesh.localservice import Frontend, LocalService
from mesh.matching import Backend, Matcher, ServicePort, Source
from mesh.merge import merge
from mesh.preference import Affinity, Preference
from mesh.service import GlobalService, Port
from mesh.share import weighted
from mesh.tier import take, tiers
from tests.mesh.test_merge import remote

WEB = LocalService(
    "shop", "web", {"service.cilium.io/global": "true"}, ("172.20.1.1",), (ServicePort("http", "TCP", 80),)
)
AT = Frontend("172.20.1.1", 80, "TCP")


def said(name: str, port: int, *ips: str) -> Source:
    return Source(name, 0, {ip: {"http": Port("TCP", port)} for ip in ips})


def test_of_two_slices_the_one_that_calls_an_address_active_counts_whichever_comes_first() -> None:
    ending, active = said("a", 8080, "10.1.0.1"), said("b", 8081, "10.1.0.1", "10.1.0.2")
    both = {"10.1.0.1": 8081, "10.1.0.2": 8081}
    for near in ([(ending, False), (active, True)], [(active, True), (ending, False)]):
        found = merge(WEB, near, (), Matcher(), own="east")[AT]
        assert {backend.ip: backend.port for backend in found} == both


class Endpoints(dict[str, dict[str, Port]]):
    """As a peer tells them, and can be watched going."""


def test_what_a_cluster_told_is_let_go_when_the_cluster_has_gone() -> None:
    told = Endpoints({"10.2.0.1": {"http": Port("TCP", 8081)}})
    gone = weakref.ref(told)
    matcher = Matcher()
    far: list[GlobalService] = [
        GlobalService("west", "shop", "web", {}, told, cluster_id=remote().cluster_id)
    ]
    assert len(merge(WEB, (), far, matcher, own="east")[AT]) == 1
    del told
    far.clear()
    merge(WEB, (), far, matcher, own="east")
    gc.collect()
    assert gone() is None


def test_a_minimum_is_of_local_backends_and_asks_nothing_of_others() -> None:
    wish = Preference(is_global=True, affinity=Affinity.REMOTE, minimum=3)
    near, far = Backend("10.1.0.1", 80, "TCP", 0), Backend("10.2.0.1", 80, "TCP", 2)
    members = {"@": [near], "west": [far]}
    assert take(tiers(wish, members.keys(), "east"), members) == ["west"]


def test_shares_of_more_than_all_slots_are_rounded_to_fit() -> None:
    members = {name: [Backend(f"10.{n}.0.1", 80, "TCP", n)] for n, name in enumerate(("@", "west"))}
    wish = Preference(is_global=True, weights={"local": 64, "west": 65})
    assert [backend.weight for backend in weighted(wish, members, "east")] == [64, 64]
    wish = Preference(is_global=True, weights={"local": 63, "west": 65})
    assert [backend.weight for backend in weighted(wish, members, "east")] == [63, 65]


def test_a_cluster_whose_name_is_not_known_yet_has_the_greatest_share() -> None:
    members = {name: [Backend(f"10.{n}.0.1", 80, "TCP", n)] for n, name in enumerate(("@", ""))}
    wish = Preference(is_global=True, weights={"local": 1, "west": 9})
    assert [backend.weight for backend in weighted(wish, members, "east")] == [1, 9]

"""What an agent tells of services of several clusters: numbers, and nothing that is not asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agent import globalservices
from agent.desired import Clock
from agent.services import Services
from mesh.localservice import LocalService
from mesh.matching import ServicePort
from mesh.service import Port
from tests.agent.test_services import piece, remote, service, started


def two_clusters(**annotations: str) -> Services:
    services = started()
    services.set_local("shop/web", service(**annotations))
    services.set_slice("shop/web-1", piece("10.1.1.5", "10.1.1.6"))
    services.set_remote("west", "shop/web", remote("10.2.1.5"))
    return services


def described(services: Services, wanted: str = "") -> dict[str, Any]:
    (found,) = globalservices.described(services, "east", wanted=wanted)
    return found


def shares(services: Services) -> dict[str, tuple[int, int, int]]:
    return {
        share["name"]: (share["backends"], share["matching"], share["used"])
        for share in described(services)["clusters"]
    }


def test_each_cluster_has_its_backends_and_how_many_are_used() -> None:
    services = two_clusters()
    assert shares(services) == {"east": (2, 2, 2), "west": (1, 1, 1)}
    found = described(services)
    assert (found["namespace"], found["name"]) == ("shop", "web")
    assert (found["exists"], found["global"], found["shared"], found["preference"]) == (True, True, True, "")


def test_what_is_preferred_is_said_in_words() -> None:
    services = two_clusters(**{"service.cilium.io/affinity": "local"})
    assert shares(services) == {"east": (2, 2, 2), "west": (1, 1, 0)}
    assert described(services)["preference"] == "affinity local"
    weighted = two_clusters(
        **{
            "service.clustermesh.io/weights": "local=80, west=20",
            "service.clustermesh.io/minimum-local-backends": "3",
        }
    )
    said = described(weighted)["preference"]
    assert said == "affinity local, at least 3 local, weights local=80, west=20"
    ordered = two_clusters(**{"service.clustermesh.io/cluster-preference": "west, *"})
    assert described(ordered)["preference"] == "order west, *"


def test_nodes_that_do_not_answer_are_counted() -> None:
    services = two_clusters()
    services.set_withdrawn(frozenset({"10.2.1.5", "10.9.9.9"}))
    (west,) = [share for share in described(services)["clusters"] if share["name"] == "west"]
    assert (west["withdrawn"], west["used"]) == (1, 0)


def test_ports_of_other_names_do_not_match() -> None:
    services = two_clusters()
    other = replace(remote("10.2.1.5"), backends={"10.2.1.5": {"metrics": Port("TCP", 9090)}})
    services.set_remote("west", "shop/web", other)
    assert shares(services)["west"] == (1, 0, 0)


def test_a_service_that_only_a_peer_tells_is_listed_and_one_that_nobody_shares_is_not() -> None:
    services = two_clusters()
    services.set_local("shop/web", None)
    found = described(services)
    assert (found["exists"], found["global"]) == (False, False)
    alone = started()
    alone.set_local(
        "shop/own", LocalService("shop", "own", {}, ("172.20.1.9",), (ServicePort("", "TCP", 1),))
    )
    assert globalservices.described(alone, "east") == []
    assert described(alone, "shop/own")["global"] is False
    assert globalservices.described(alone, "east", wanted="shop/none") == []


def test_what_is_served_at_node_ports_alone_is_counted_there() -> None:
    services = Services(Clock(), cluster="east", node="node-1", node_ips=("198.18.1.11",))
    services.start()
    web = service()
    ports = tuple(port._replace(node_port=30_080) for port in web.ports)
    services.set_local("shop/web", replace(web, cluster_ips=(), node_families=(4,), ports=ports))
    services.set_slice("shop/web-1", piece("10.1.1.5"))
    services.set_remote("west", "shop/web", remote("10.2.1.5"))
    assert shares(services) == {"east": (1, 1, 1), "west": (1, 1, 1)}


def test_a_service_for_other_nodes_is_said_to_be_so() -> None:
    services = two_clusters(**{"service.cilium.io/node": "front"})
    assert described(services)["here"]
    services.set_labels({})
    assert not described(services)["here"]
    assert shares(services) == {"east": (2, 2, 0), "west": (1, 1, 0)}

"""Load-balancer options of one cluster: which frontends a Service has here, and what they say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.balancerhealth import ports
from agent.convert import local_service
from agent.desired import Clock
from agent.ownslices import Slice
from agent.services import Services
from bpf.lb_map import FLAG_SOURCE_RANGES, FLAG_SOURCE_RANGES_DENY, algorithm_of
from k8s.core import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from k8s.objects import ObjectMeta
from mesh.localoptions import ALGORITHM, NODE, NODE_SELECTOR, SOURCE_RANGES_POLICY, TYPE, Algorithm
from mesh.localservice import Frontend, LocalBackend, LocalService
from mesh.service import Port

CLUSTER_IP, BALANCER, EXTERNAL, NODE_IP = "172.20.1.5", "203.0.113.7", "203.0.113.8", "198.18.1.11"
AT_NODE = {NODE_IP, "0.0.0.0"}
KEY = "shop/web"


def web(annotations: dict[str, str], **spec: object) -> LocalService:
    told: dict[str, object] = {
        "type": "LoadBalancer",
        "clusterIP": CLUSTER_IP,
        "clusterIPs": (CLUSTER_IP,),
        "ports": (ServicePort("http", "TCP", 80, nodePort=30_080),),
        "externalIPs": (EXTERNAL,),
        **spec,
    }
    status = ServiceStatus(LoadBalancerStatus((LoadBalancerIngress(BALANCER),)))
    made = ServiceSpec(**told)  # type: ignore[arg-type] # a test's own
    return local_service(Service(ObjectMeta("web", "shop", annotations=annotations), made, status))


def services(*, knows_algorithms: bool = False) -> Services:
    made = Services(Clock(), node="node-1", node_ips=(NODE_IP,), knows_algorithms=knows_algorithms)
    made.start()
    backend = LocalBackend("10.1.1.1", {"http": Port("TCP", 8080)}, node="node-1")
    made.set_slice("shop/web-1", Slice(KEY, (backend,)))
    return made


def served(services: Services) -> set[str]:
    assert all(services.wanted.entries.values())  # at each there is the backend
    return {frontend.ip for frontend in services.wanted.entries}


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("ClusterIP", {CLUSTER_IP, EXTERNAL}),
        ("NodePort", {EXTERNAL, *AT_NODE}),
        ("LoadBalancer", {BALANCER, EXTERNAL}),
        ("nonsense", {CLUSTER_IP, BALANCER, EXTERNAL, *AT_NODE}),
    ],
)
def test_a_service_may_have_frontends_of_one_kind_only(kind: str, where: set[str]) -> None:
    made = services()
    made.set_local(KEY, web({TYPE: kind}))
    assert served(made) == where
    assert bool(made.problems()) is (kind == "nonsense")


def test_without_external_addresses_a_node_port_is_still_served() -> None:
    made = services()
    made.set_local(KEY, web({TYPE: "NodePort"}, externalIPs=()))
    assert served(made) == AT_NODE


@pytest.mark.parametrize(
    "annotations", [{NODE: "front"}, {NODE_SELECTOR: "tier in (front),!old"}], ids=["node", "selector"]
)
def test_a_service_that_is_for_other_nodes_is_not_served_here(annotations: dict[str, str]) -> None:
    made = services()
    made.set_local(KEY, replace(web(annotations), health_port=30_123))
    made.set_labels({NODE: "front", "tier": "front"})
    everywhere = {CLUSTER_IP, BALANCER, EXTERNAL, *AT_NODE}
    assert (served(made), ports(made.here)) == (everywhere, {30_123: KEY})
    ticks = made.health_ports.revision
    made.set_labels({NODE: "back", "tier": "back"})
    assert (served(made), ports(made.here)) == (set(), {})
    assert made.health_ports.revision > ticks
    made.set_labels({NODE: "front", "tier": "front"})
    assert served(made) == everywhere


def test_source_ranges_may_be_those_that_may_not() -> None:
    made, at = services(), Frontend(BALANCER, 80, "TCP")
    for policy, deny in (("deny", FLAG_SOURCE_RANGES_DENY), ("allow", 0), ("nonsense", 0)):
        made.set_local(KEY, web({SOURCE_RANGES_POLICY: policy}, loadBalancerSourceRanges=("192.0.2.0/24",)))
        flags = made.master(at).flags
        assert flags & (FLAG_SOURCE_RANGES | FLAG_SOURCE_RANGES_DENY) == FLAG_SOURCE_RANGES | deny
        assert made.master(at).ranges == ("192.0.2.0/24",)
    made.set_local(KEY, web({SOURCE_RANGES_POLICY: "deny"}))
    assert not made.master(at).flags & (FLAG_SOURCE_RANGES | FLAG_SOURCE_RANGES_DENY)


def test_how_backends_are_chosen_is_the_service_s_own_where_agents_read_it() -> None:
    for knows, wanted in ((True, Algorithm.MAGLEV), (False, Algorithm.DEFAULT)):
        made = services(knows_algorithms=knows)
        made.set_local(KEY, web({ALGORITHM: "maglev"}))
        said = {frontend.ip: algorithm_of(said.flags) for frontend, said in made.masters.entries.items()}
        assert said == dict.fromkeys((BALANCER, EXTERNAL, *AT_NODE), wanted)

"""Services at external and load balancer addresses: what clients outside get there, and what others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.convert import local_service
from agent.desired import Clock
from agent.ownslices import Slice
from agent.services import Services
from bpf.lb_map import (
    FLAG_DELEGATE_IF_LOCAL,
    FLAG_EXTERNAL_IP,
    FLAG_EXTERNAL_LOCAL,
    FLAG_INTERNAL_LOCAL,
    FLAG_LOAD_BALANCER,
    FLAG_ROUTABLE,
    FLAG_SOURCE_RANGES,
    FLAG_TWO_SCOPES,
)
from bpf.lb_wanted import Master
from k8s.core import LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus
from k8s.objects import ObjectMeta
from mesh.addressing import ClusterID
from mesh.localservice import Frontend, LocalBackend, LocalService
from mesh.service import GlobalService, Port

CLUSTER_IP, BALANCER, EXTERNAL = "172.20.1.5", "203.0.113.7", "203.0.113.8"
HTTP = {"http": Port("TCP", 8080)}
BALANCED, EXPOSED = FLAG_LOAD_BALANCER | FLAG_ROUTABLE, FLAG_EXTERNAL_IP | FLAG_ROUTABLE
OWN, ALL = ["10.1.1.1"], ["10.1.1.1", "10.1.2.1", "10.2.1.1"]
GLOBAL = {"service.cilium.io/global": "true"}


def web(*, balancer: str = BALANCER, **spec: object) -> LocalService:
    made = ServiceSpec(
        **{
            "type": "LoadBalancer",
            "clusterIP": CLUSTER_IP,
            "clusterIPs": (CLUSTER_IP,),
            "ports": (ServicePort("http", "TCP", 80, nodePort=30_080),),
            "externalIPs": (EXTERNAL,),
        }
        | spec  # type: ignore[arg-type] # a test's own
    )
    status = ServiceStatus(LoadBalancerStatus((LoadBalancerIngress(balancer),)))
    return local_service(Service(ObjectMeta("web", "shop", annotations=GLOBAL), made, status))


def at(ip: str, *, outside: bool = False) -> Frontend:
    return Frontend(ip, 80, "TCP", outside)


@pytest.fixture
def made() -> Services:
    services = Services(Clock(), cluster="east", node="node-1")
    services.start()
    own = (LocalBackend("10.1.1.1", HTTP, node="node-1"), LocalBackend("10.1.2.1", HTTP, node="node-2"))
    services.set_slice("shop/web-1", Slice("shop/web", own))
    remote = GlobalService("west", "shop", "web", backends={"10.2.1.1": HTTP}, cluster_id=ClusterID(2))
    services.set_remote("west", "shop/web", remote)
    return services


def addresses(services: Services) -> dict[Frontend, list[str]]:
    return {frontend: [b.ip for b in backends] for frontend, backends in services.wanted.entries.items()}


def test_where_the_policies_are_equal_one_entry_is_for_all_clients(made: Services) -> None:
    made.set_local("shop/web", web())
    assert addresses(made) == dict.fromkeys(map(at, (CLUSTER_IP, BALANCER, EXTERNAL)), ALL)
    assert made.masters.entries == {at(BALANCER): Master(flags=BALANCED), at(EXTERNAL): Master(flags=EXPOSED)}
    made.set_local("shop/web", web(externalTrafficPolicy="Local", internalTrafficPolicy="Local"))
    assert addresses(made) == dict.fromkeys(map(at, (CLUSTER_IP, BALANCER, EXTERNAL)), OWN)
    assert made.master(at(BALANCER)).flags == BALANCED | FLAG_INTERNAL_LOCAL


def test_a_policy_for_clients_outside_has_entries_of_their_own(made: Services) -> None:
    made.set_local("shop/web", web(externalTrafficPolicy="Local"))
    found = addresses(made)
    for ip, kind in ((BALANCER, BALANCED), (EXTERNAL, EXPOSED)):
        assert (found[at(ip)], found[at(ip, outside=True)]) == (ALL, OWN)
        assert made.master(at(ip)).flags == kind | FLAG_TWO_SCOPES
        assert made.master(at(ip, outside=True)).flags == kind | FLAG_EXTERNAL_LOCAL
    assert at(CLUSTER_IP, outside=True) not in found


def test_a_policy_for_clients_inside_leaves_those_outside_every_cluster_s_backends(made: Services) -> None:
    made.set_local("shop/web", web(internalTrafficPolicy="Local"))
    found = addresses(made)
    assert (found[at(BALANCER)], found[at(BALANCER, outside=True)]) == (OWN, ALL)
    assert made.master(at(BALANCER)).flags == BALANCED | FLAG_INTERNAL_LOCAL | FLAG_TWO_SCOPES
    assert made.master(at(BALANCER, outside=True)).flags == BALANCED


def test_entries_for_clients_outside_go_with_what_made_them(made: Services) -> None:
    made.set_local("shop/web", web(externalTrafficPolicy="Local", loadBalancerSourceRanges=("192.0.2.0/24",)))
    made.set_local("shop/web", replace(web(), balancer_ips=(), external_ips=()))
    assert not any(frontend.outside for frontend in made.wanted.entries)
    assert made.masters.entries == {}


def test_a_process_of_the_node_may_listen_at_a_balancer_s_address_that_is_the_node_s() -> None:
    """As balancers do that only name nodes: the backend itself listens there."""
    for node_ip, target, may in ((BALANCER, 80, True), (BALANCER, 8080, False), (EXTERNAL, 80, False)):
        made = Services(Clock(), node_ips=(node_ip,))
        made.start()
        ports = (ServicePort("http", "TCP", 80, targetPort=target),)
        made.set_local("shop/web", web(ports=ports))
        assert bool(made.master(at(BALANCER)).flags & FLAG_DELEGATE_IF_LOCAL) is may


@pytest.mark.parametrize("kind", ["NodePort", "ClusterIP"])
def test_a_service_that_is_no_balancer_any_more_has_no_balancer_s_address(made: Services, kind: str) -> None:
    made.set_local("shop/web", web(externalTrafficPolicy="Local", loadBalancerSourceRanges=("192.0.2.0/24",)))
    assert made.wanted.entries[at(BALANCER, outside=True)]
    made.set_local("shop/web", web(type=kind))  # and nobody has cleared its status yet
    assert addresses(made).keys() == {at(CLUSTER_IP), at(EXTERNAL)}
    assert made.masters.entries == {at(EXTERNAL): Master(flags=EXPOSED)}


def test_source_ranges_are_for_the_balancer_s_address_alone(made: Services) -> None:
    made.set_local("shop/web", web(loadBalancerSourceRanges=(" 192.0.2.7/24 ", "2001:db8::/32")))
    assert made.masters.entries == {
        at(BALANCER): Master(flags=BALANCED | FLAG_SOURCE_RANGES, ranges=("192.0.2.0/24",)),
        at(EXTERNAL): Master(flags=EXPOSED),
    }


def test_addresses_of_ipv6_are_served_as_those_of_ipv4_however_they_are_written(made: Services) -> None:
    service = web(
        balancer="2001:DB8:0::7",
        clusterIPs=(CLUSTER_IP, "fd00:20:1::5"),
        externalIPs=("2001:db8::0:8",),
        externalTrafficPolicy="Local",
        loadBalancerSourceRanges=("192.0.2.0/24", "2001:db8:9::1/64"),
    )
    made.set_slice("shop/web-6", Slice("shop/web", (LocalBackend("fd00:10:1:1::1", HTTP, node="node-1"),)))
    made.set_local("shop/web", service)
    found = addresses(made)
    for ip, kind in (("2001:db8::7", BALANCED | FLAG_SOURCE_RANGES), ("2001:db8::8", EXPOSED)):
        assert found[at(ip)] == found[at(ip, outside=True)] == ["fd00:10:1:1::1"]
        assert made.master(at(ip, outside=True)).flags == kind | FLAG_EXTERNAL_LOCAL
    assert made.master(at("2001:db8::7")).ranges == ("2001:db8:9::/64",)


@pytest.mark.parametrize("networks", [("2001:db8::/32",), ("nonsense",)])
def test_source_ranges_without_a_network_of_the_family_admit_nobody(
    made: Services, networks: tuple[str, ...]
) -> None:
    made.set_local("shop/web", web(loadBalancerSourceRanges=networks))
    assert made.master(at(BALANCER)).flags & FLAG_SOURCE_RANGES
    assert set(made.master(at(BALANCER)).ranges) <= {"0.0.0.0/32"}


def test_a_balancer_that_is_a_proxy_keeps_its_address() -> None:
    status = ServiceStatus(LoadBalancerStatus((LoadBalancerIngress(BALANCER, ipMode="Proxy"),)))
    spec = ServiceSpec(type="LoadBalancer", clusterIP=CLUSTER_IP)
    found = local_service(Service(ObjectMeta("web", "shop"), spec, status))
    assert (found.cluster_ips, found.balancer_ips) == ((CLUSTER_IP,), ())


@pytest.mark.parametrize(
    ("spec", "port"),
    [
        ({"externalTrafficPolicy": "Local"}, 31_000),
        ({"externalTrafficPolicy": "Cluster"}, 0),
        ({"externalTrafficPolicy": "Local", "type": "NodePort"}, 0),
    ],
)
def test_only_balancers_of_nodes_with_endpoints_are_told_of_health(spec: dict[str, str], port: int) -> None:
    assert web(healthCheckNodePort=31_000, **spec).health_port == port


def test_clusters_shares_count_for_clients_outside_where_others_keep_to_their_node(made: Services) -> None:
    service = web(internalTrafficPolicy="Local")
    shares = GLOBAL | {"service.clustermesh.io/weights": "local=1,west=3"}
    made.set_local("shop/web", replace(service, annotations=shares))
    weights = {each.ip: each.weight for each in made.wanted.entries[at(BALANCER, outside=True)]}
    assert weights == {"10.1.1.1": 1, "10.1.2.1": 1, "10.2.1.1": 6}
    assert [each.weight for each in made.wanted.entries[at(BALANCER)]] == [0]

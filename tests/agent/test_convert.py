"""Kubernetes objects as the agent's values."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.convert import contains, endpoint_entries, local_service, node_of, prefix_of, service_slice
from agent.ipcache import IPCacheEntry
from k8s.cilium import CiliumEndpoint, CiliumNode
from k8s.core import Service
from k8s.discovery import EndpointSlice
from mesh.localoptions import WEIGHT
from mesh.localservice import LocalBackend
from mesh.matching import ServicePort
from mesh.service import Port, Zone
from tests.agent.values import EAST, NODE


def service(**spec: Any) -> Service:
    body = {"metadata": {"namespace": "shop", "name": "web"}, "spec": spec}
    return msgspec.convert(body, Service)


def test_a_service_has_its_cluster_load_balancer_and_external_addresses_as_frontends() -> None:
    body = {
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "172.20.1.5",
            "clusterIPs": ["172.20.1.5"],
            "externalIPs": ["192.0.2.7"],
            "ports": [{"name": "http", "port": 80}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "x"}]}},
    }
    converted = local_service(msgspec.convert(body, Service))
    assert converted.cluster_ips == ("172.20.1.5", "192.0.2.9", "192.0.2.7")
    assert converted.ports == (ServicePort("http", "TCP", 80),)


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"type": "ExternalName", "clusterIP": ""}, {}])
def test_headless_and_external_name_services_have_no_frontends(spec: dict[str, Any]) -> None:
    assert local_service(service(**spec)).cluster_ips == ()


def test_an_internal_policy_of_local_keeps_a_service_to_each_node() -> None:
    assert local_service(service(internalTrafficPolicy="Local")).node_only
    assert not local_service(service(internalTrafficPolicy="Cluster")).node_only
    piece = service_slice(slice_with({"addresses": ["10.1.1.5"], "nodeName": "node-2"}))
    assert piece is not None
    assert [backend.node for backend in piece.backends] == ["node-2"]


@pytest.mark.parametrize(("target", "number"), [(8080, 8080), ("http", 0)])
def test_a_target_is_a_number_or_the_backends_name_for_one(target: int | str, number: int) -> None:
    ports = [{"port": 80, "targetPort": target}]
    converted = local_service(service(clusterIP="172.20.1.5", ports=ports))
    assert converted.ports == (ServicePort("", "TCP", 80, 0, number),)


def test_node_ports_are_those_of_services_that_have_them() -> None:
    ports = [{"port": 80, "nodePort": 30_080}]
    spec = {"clusterIP": "172.20.1.5", "ports": ports, "externalTrafficPolicy": "Local"}
    for kind, number in (("NodePort", 30_080), ("LoadBalancer", 30_080), ("ClusterIP", 0)):
        converted = local_service(service(**spec, type=kind))
        assert converted.ports == (ServicePort("", "TCP", 80, number),)
        assert converted.outside_node_only


def test_zones_travel_from_the_slice_and_the_wish_from_the_service() -> None:
    assert local_service(service(trafficDistribution="PreferClose")).zonal
    assert not local_service(service()).zonal
    said = {"addresses": ["10.1.1.5"], "zone": "a", "hints": {"forZones": [{"name": "a"}, {"name": "b"}]}}
    piece = service_slice(slice_with(said, {"addresses": ["10.1.1.6"]}))
    assert piece is not None
    assert [backend.zone for backend in piece.backends] == [Zone("a", ("a", "b")), None]


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({}, 10_800),
        ({"clientIP": {}}, 10_800),
        ({"clientIP": {"timeoutSeconds": 60}}, 60),
        ({"clientIP": {"timeoutSeconds": 0}}, 1),
        ({"clientIP": {"timeoutSeconds": 10**9}}, 86_400),
    ],
)
def test_session_affinity_lasts_as_long_as_kubernetes_says(config: dict[str, Any], seconds: int) -> None:
    asked = local_service(service(sessionAffinity="ClientIP", sessionAffinityConfig=config))
    assert asked.sticky == seconds
    assert local_service(service(sessionAffinity="None", sessionAffinityConfig=config)).sticky == 0


def slice_with(*endpoints: dict[str, Any], **labels: str) -> EndpointSlice:
    body = {
        "metadata": {
            "namespace": "shop",
            "name": "web-1",
            "labels": {"kubernetes.io/service-name": "web", **labels},
        },
        "endpoints": list(endpoints),
        "ports": [{"name": "http", "port": 8080}],
    }
    return msgspec.convert(body, EndpointSlice)


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ({}, "active"),
        ({"ready": True}, "active"),
        ({"ready": False}, None),
        ({"ready": False, "serving": True, "terminating": True}, "terminating"),
        ({"ready": False, "serving": False, "terminating": True}, None),
    ],
)
def test_conditions_decide_whether_and_how_an_endpoint_is_a_backend(
    conditions: dict[str, bool], state: str | None
) -> None:
    piece = service_slice(slice_with({"addresses": ["10.1.1.5"], "conditions": conditions}))
    assert piece is not None
    assert piece.service == "shop/web"
    found = [(backend.ip, backend.state) for backend in piece.backends]
    assert found == ([("10.1.1.5", state)] if state else [])


def test_a_slice_carries_its_ports_by_name() -> None:
    piece = service_slice(slice_with({"addresses": ["10.1.1.5"]}))
    assert piece is not None
    assert piece.backends == (LocalBackend("10.1.1.5", {"http": Port("TCP", 8080)}),)


def test_slices_that_mirror_other_clusters_are_left_out() -> None:
    label = {"endpointslice.kubernetes.io/managed-by": "endpointslice-mesh-controller.cilium.io"}
    assert service_slice(slice_with({"addresses": ["10.2.1.5"]}, **label)) is None


def test_a_node_of_ours_looks_like_a_peers() -> None:
    body = {
        "metadata": {"name": "node-2"},
        "spec": {
            "addresses": [{"type": "InternalIP", "ip": "198.18.1.12"}],
            "ipam": {"podCIDRs": ["10.1.2.0/24", "10.1.9.0/24"]},
            "health": {"ipv4": "10.1.2.9"},
        },
    }
    node = node_of(msgspec.convert(body, CiliumNode), EAST)
    assert (node.name, node.cluster, node.internal_ip()) == ("node-2", "east", "198.18.1.12")
    assert node.pod_cidrs == ("10.1.2.0/24", "10.1.9.0/24")
    assert node.ipv4_health_ip == "10.1.2.9"


def endpoint(node: str, identity: int = 65540) -> CiliumEndpoint:
    status = {
        "identity": {"id": identity},
        "networking": {"addressing": [{"ipv4": "10.1.2.5", "ipv6": "fd00::5"}], "node": node},
    }
    return msgspec.convert({"metadata": {"name": "w", "namespace": "s"}, "status": status}, CiliumEndpoint)


def test_pods_of_other_nodes_are_behind_a_tunnel_and_our_own_are_not() -> None:
    far = endpoint_entries(endpoint("198.18.1.12"), NODE.ip)
    assert far["10.1.2.5/32"] == far["fd00::5/128"] == IPCacheEntry(65540, "198.18.1.12")
    assert endpoint_entries(endpoint(NODE.ip), NODE.ip)["10.1.2.5/32"].tunnel is None


def test_an_endpoint_that_is_not_complete_yet_claims_nothing() -> None:
    assert endpoint_entries(endpoint(""), NODE.ip) == {}
    assert endpoint_entries(endpoint(NODE.ip, identity=0), NODE.ip) == {}


def test_a_keys_suffix_names_a_prefix() -> None:
    assert prefix_of("10.2.1.5") == "10.2.1.5/32"
    assert prefix_of("fd00::1") == "fd00::1/128"
    assert prefix_of("10.2.1.5/24") == "10.2.1.0/24"


def test_containment_keeps_the_families_apart() -> None:
    assert contains(["10.0.0.0/8"], "10.2.1.5/32")
    assert not contains(["10.0.0.0/8"], "11.0.0.1/32")
    assert not contains(["::/0"], "10.2.1.5/32")


@pytest.mark.parametrize(
    ("weight", "addresses"), [("0", 0), ("000", 0), ("7", 1), ("", 1), ("-0", 1), ("x", 1)]
)
def test_a_slice_of_weight_zero_has_no_endpoints_for_new_connections(weight: str, addresses: int) -> None:
    said = slice_with({"addresses": ["10.1.1.5"]})
    metadata = msgspec.structs.replace(said.metadata, annotations={WEIGHT: weight})
    piece = service_slice(msgspec.structs.replace(said, metadata=metadata))
    assert piece is not None
    assert (piece.service, len(piece.backends)) == ("shop/web", addresses)

"""Kubernetes objects for tests, as JSON bodies and as the structs that are read from them."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from k8s.cilium import CiliumEndpoint, CiliumIdentity, CiliumNode
from k8s.core import Namespace, Service
from k8s.discovery import EndpointSlice
from k8s.objects import KubeObject, decode
from mesh.addressing import ClusterID, ClusterName, IdentityLayout, PeerScope

T = TypeVar("T", bound=KubeObject)
Body = dict[str, Any]

EAST = PeerScope(ClusterName("east"), ClusterID(3), IdentityLayout(255))
GLOBAL = {"service.cilium.io/global": "true"}
CLUSTER_LABEL = "k8s:io.cilium.k8s.policy.cluster"
NAMESPACE_LABEL = "k8s:io.kubernetes.pod.namespace"


def read(body: Body, type_: type[T]) -> T:
    return decode(msgspec.json.encode(body), type_)


def namespace_body(name: str, is_global: str | None = None) -> Body:
    annotations = {} if is_global is None else {"clustermesh.cilium.io/global": is_global}
    return {"metadata": {"name": name, "annotations": annotations}}


def node_body(name: str = "worker-1") -> Body:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {
            "addresses": [
                {"type": "InternalIP", "ip": "192.0.2.11"},
                {"type": "CiliumInternalIP", "ip": "10.3.1.213"},
            ],
            "ipam": {"podCIDRs": ["10.3.1.0/24"]},
            "health": {"ipv4": "10.3.1.7"},
            "bootid": "5d0c",
        },
    }


def identity_body(number: int = 196871, namespace: str = "shop", **labels: str) -> Body:
    return {
        "metadata": {"name": str(number)},
        "security-labels": {
            "k8s:app": "web",
            NAMESPACE_LABEL: namespace,
            "k8s:io.cilium.k8s.policy.serviceaccount": "web",
            "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": namespace,
            CLUSTER_LABEL: "east",
            **labels,
        },
    }


def endpoint_body(
    name: str = "web-0",
    *addresses: str,
    namespace: str = "shop",
    identity: int = 196871,
    node: str = "192.0.2.11",
    created: str = "2026-01-01T00:00:00Z",
) -> Body:
    pairs = [{"ipv6" if ":" in ip else "ipv4": ip} for ip in addresses or ("10.3.1.44",)]
    return {
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
        "status": {
            "identity": {"id": identity},
            "networking": {"addressing": pairs, "node": node},
            "service-account": "web",
            "state": "ready",
        },
    }


def service_body(
    name: str = "web", namespace: str = "shop", annotations: dict[str, str] | None = None, **spec: Any
) -> Body:
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": "web"},
            "annotations": GLOBAL if annotations is None else annotations,
        },
        "spec": {
            "clusterIP": "172.20.9.14",
            "clusterIPs": ["172.20.9.14"],
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
            "selector": {"app": "web"},
            **spec,
        },
    }


def slice_body(
    name: str,
    *endpoints: Body,
    service: str = "web",
    namespace: str = "shop",
    labels: dict[str, str] | None = None,
    port: int = 8080,
) -> Body:
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service, **(labels or {})},
        },
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": "http", "protocol": "TCP", "port": port}],
    }


def backend(address: str, *, ready: bool | None = True, **fields: Any) -> Body:
    return {"addresses": [address], "conditions": {"ready": ready}, **fields}


def namespace(name: str, is_global: str | None = None) -> Namespace:
    return read(namespace_body(name, is_global), Namespace)


def node(name: str = "worker-1") -> CiliumNode:
    return read(node_body(name), CiliumNode)


def identity(number: int = 196871, namespace: str = "shop", **labels: str) -> CiliumIdentity:
    return read(identity_body(number, namespace, **labels), CiliumIdentity)


def endpoint(name: str = "web-0", *addresses: str, **fields: Any) -> CiliumEndpoint:
    return read(endpoint_body(name, *addresses, **fields), CiliumEndpoint)


def service(name: str = "web", namespace: str = "shop", **fields: Any) -> Service:
    return read(service_body(name, namespace, **fields), Service)


def endpoint_slice(name: str, *endpoints: Body, **fields: Any) -> EndpointSlice:
    return read(slice_body(name, *endpoints, **fields), EndpointSlice)
